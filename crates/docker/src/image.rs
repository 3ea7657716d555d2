//! The image: local, or pulled from the registry in its name.

use bollard::errors::Error;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::TryStreamExt;

use super::{DockerHost, calls::Call, client::failed, client::found};
use startclaw_host::{HostError, ImageState};

impl DockerHost {
    pub(super) async fn fetch_image(&self, image: &str) -> Result<(), HostError> {
        if self.has_image(image).await? {
            return Ok(());
        }
        // Docker resolves a name without a registry to Docker Hub, where anyone may have registered
        // it: an image that we build ourselves must never be pulled from there.
        if !names_registry(image) {
            return Err(HostError::refused(format!(
                "image {image} is not on this machine, and its name names no registry to fetch it \
                 from; run script/image"
            )));
        }
        let options = CreateImageOptionsBuilder::new().from_image(image).build();
        let pull = self.client.get().await?.create_image(Some(options), None, None);
        let pulled: Result<(), _> = pull.try_for_each(|_| std::future::ready(Ok(()))).await;
        match pulled {
            Ok(()) => Ok(()),
            Err(e) => {
                // Some errors of a pull do not matter: check whether the image exists.
                if self.has_image(image).await? {
                    return Ok(());
                }
                Err(HostError::refused(format!(
                    "image {image} is not on this machine and cannot be pulled ({e}); run \
                     script/image, or: docker pull {image}"
                )))
            }
        }
    }

    pub(super) async fn image_state(&self, image: &str) -> Result<ImageState, HostError> {
        let inspecting = self.client.get().await?.inspect_image(image);
        match found(self.client.calls.run(Call::InspectImage, image, inspecting).await) {
            Ok(Some(_)) => Ok(ImageState::Here),
            Ok(None) if names_registry(image) => Ok(ImageState::Fetchable),
            // Docker returns 400 for a text that is not a valid image name.
            Ok(None) | Err(Error::DockerResponseServerError { status_code: 400, .. }) => {
                Ok(ImageState::Unknown)
            }
            Err(e) => Err(failed(format!("inspect the image {image}"), e)),
        }
    }

    pub(super) async fn has_image(&self, image: &str) -> Result<bool, HostError> {
        Ok(self.image_state(image).await? == ImageState::Here)
    }
}

/// Whether the first part of an image's name is a registry, by Docker's own rule.
fn names_registry(image: &str) -> bool {
    image.split_once('/').is_some_and(|(first, _)| {
        first == "localhost" || first.contains('.') || first.contains(':')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_image_that_names_its_registry_is_fetched() {
        assert!(names_registry("ghcr.io/openclaw/openclaw:2026.9.6"));
        assert!(names_registry("localhost:5000/openclaw"));
        assert!(!names_registry("startclaw/openclaw:2026.9.6"));
        assert!(!names_registry("openclaw:2026.9.6"));
    }
}
