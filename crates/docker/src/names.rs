//! Names and labels of the Docker objects of an instance.
//!
//! A name can be reused while objects of an older instance of that name still exist. So the name of
//! an object ends with a part of the instance's id, and its instance is determined by its labels,
//! never by its name.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use startclaw_model::{InstanceId, Name, Slot};

use super::Prefix;
use startclaw_host::InstanceSpec;

/// The labels of one platform and the names of its objects.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: Prefix,
    bridges: String,
}

impl Names {
    pub(super) fn new(prefix: Prefix) -> Self {
        // The name of an interface has at most 15 characters: 2 + 6 + 1 leave six for the slot.
        let bridges = format!("sc{}-", &hex_digest(prefix.as_str().as_bytes())[..6]);
        Self { prefix, bridges }
    }

    /// The common name of an instance's container, volume and network. It contains the instance's
    /// name, so that `docker ps` is readable.
    pub(super) fn object(&self, spec: &InstanceSpec) -> String {
        let name = self.object_of(&spec.name, &spec.id);
        if spec.isolated { format!("{name}-drill") } else { name }
    }

    fn object_of(&self, name: &Name, id: &InstanceId) -> String {
        format!("{}-{}-{}", self.prefix.as_str(), name.as_str(), short(id))
    }

    /// The name of the spec's volume. Names of instances contain no dot, so it is unique.
    pub(super) fn volume(&self, spec: &InstanceSpec, generation: u64) -> String {
        match generation {
            0 => self.object(spec),
            n => format!("{}.v{n}", self.object(spec)),
        }
    }

    /// The label of a volume's generation.
    pub(super) fn volume_label(&self) -> String {
        format!("{}.volume", self.prefix.as_str())
    }

    /// The generation in the labels of a volume; volumes of the first version have no label.
    pub(super) fn generation(&self, labels: &HashMap<String, String>) -> u64 {
        labels.get(&self.volume_label()).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The name of the container that repairs the volume.
    pub(super) fn repair(&self, spec: &InstanceSpec) -> String {
        format!("{}-repair", self.object(spec))
    }

    /// The prefix of the names of this platform's bridges, different for each platform.
    pub(super) fn bridges(&self) -> &str {
        &self.bridges
    }

    /// The bridge of a slot.
    pub(super) fn bridge(&self, slot: Slot) -> String {
        format!("{}{}", self.bridges, slot.0)
    }

    /// The name of the firewall's table.
    pub(super) fn table(&self) -> String {
        self.prefix.as_str().replace('-', "_")
    }

    /// The label of the instance's id; all our objects have it.
    pub(super) fn id_label(&self) -> String {
        format!("{}.instance", self.prefix.as_str())
    }

    /// The label of the instance's name.
    pub(super) fn name_label(&self) -> String {
        format!("{}.name", self.prefix.as_str())
    }

    /// The label of the instance's slot.
    pub(super) fn slot_label(&self) -> String {
        format!("{}.slot", self.prefix.as_str())
    }

    /// The label of a container's spec.
    pub(super) fn spec_label(&self) -> String {
        format!("{}.spec", self.prefix.as_str())
    }

    /// The label of a container's role: [`ROLE_INSTANCE`], [`ROLE_REPAIR`] or [`ROLE_DRILL`].
    pub(super) fn role_label(&self) -> String {
        format!("{}.role", self.prefix.as_str())
    }

    /// The labels of all objects of an instance.
    pub(super) fn labels(&self, spec: &InstanceSpec) -> HashMap<String, String> {
        HashMap::from([
            (self.id_label(), spec.id.to_string()),
            (self.name_label(), spec.name.as_str().to_owned()),
            (self.slot_label(), spec.slot.0.to_string()),
        ])
    }

    /// Whether these are labels of an object of this instance.
    pub(super) fn marked(&self, labels: Option<&HashMap<String, String>>, id: &InstanceId) -> bool {
        labels.and_then(|l| l.get(&self.id_label())).is_some_and(|found| found == id.as_str())
    }

    /// A filter for all objects of this platform.
    pub(super) fn filter_all(&self) -> HashMap<&'static str, Vec<String>> {
        HashMap::from([("label", vec![self.id_label()])])
    }

    /// A filter for all objects of one instance.
    pub(super) fn filter_one(&self, id: &InstanceId) -> HashMap<&'static str, Vec<String>> {
        HashMap::from([("label", vec![format!("{}={id}", self.id_label())])])
    }
}

/// The role of the container in which an instance runs.
pub(super) const ROLE_INSTANCE: &str = "instance";
/// The role of the container that repairs an instance's volume.
pub(super) const ROLE_REPAIR: &str = "repair";
/// The role of the container of a restore test.
pub(super) const ROLE_DRILL: &str = "drill";

/// The last eight letters and digits of an id: they are random in a UUID of version 7.
fn short(id: &InstanceId) -> String {
    let plain: Vec<char> = id.as_str().chars().filter(char::is_ascii_alphanumeric).collect();
    plain[plain.len().saturating_sub(8)..].iter().collect::<String>().to_lowercase()
}

/// The SHA-256 of some bytes as 64 hexadecimal digits.
pub(super) fn hex_digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prefix: &str) -> Names {
        Names::new(Prefix::parse(prefix).unwrap())
    }

    #[test]
    fn a_name_can_be_read_and_tells_two_instances_of_one_name_apart() {
        let n = names("startclaw");
        let name = Name::parse("alice").unwrap();
        let id = InstanceId("01997f3e-0000-7000-8000-0123456789ab".to_owned());
        assert_eq!(n.object_of(&name, &id), "startclaw-alice-456789ab");
        assert_ne!(n.object_of(&name, &InstanceId::new()), n.object_of(&name, &id));
    }

    #[test]
    fn a_bridges_name_fits_an_interface_and_tells_platforms_apart() {
        let (a, b) = (names("startclaw"), names("other"));
        assert!(a.bridge(Slot(524_287)).len() <= 15);
        assert!(a.bridge(Slot(7)).starts_with(a.bridges()));
        assert_ne!(a.bridges(), b.bridges());
    }
}
