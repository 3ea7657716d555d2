//! The routes of the portal.

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{MethodRouter, get, post},
};
use startclaw_accounts::Accounts;
use startclaw_engine::Engine;
use tower_http::{catch_panic::CatchPanicLayer, compression::CompressionLayer};

use crate::{Portal, Settings, assets, error, guard, pages};

/// The pages of the portal; only Caddy connects to them.
pub fn router(engine: Engine, accounts: Accounts, settings: Settings) -> Router {
    let portal = Portal::new(engine, accounts, settings);
    let mut router = Router::new();
    for (path, methods) in routes() {
        router = router.route(path, methods);
    }
    router
        .fallback(error::nothing)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(from_fn_with_state(portal.clone(), guard::guard))
        .with_state(portal)
}

fn routes() -> Vec<(&'static str, MethodRouter<Portal>)> {
    use pages::{
        account, admin, confirm, delete, front, instance, instances, logs, new, operation,
        passkeys, remove, reset, restore, sign_in, sign_up, telegram,
    };
    vec![
        ("/", get(front::show)),
        // Nothing else is compressed: the compressed size of a page would leak its secrets
        // (BREACH).
        ("/assets/{file}", get(assets::serve).layer(CompressionLayer::new())),
        ("/sign-in", get(sign_in::show).post(sign_in::sign_in)),
        ("/sign-out", post(sign_in::sign_out)),
        ("/sign-up", get(sign_up::show).post(sign_up::make)),
        ("/invite/{token}", get(sign_up::invited)),
        ("/reset", get(reset::show).post(reset::ask)),
        ("/reset/{token}", get(reset::choose).post(reset::set)),
        ("/confirm/{token}", get(confirm::show).post(confirm::confirm)),
        ("/passkeys/sign-in/begin", post(passkeys::begin_sign_in)),
        ("/passkeys/sign-in/finish", post(passkeys::finish_sign_in)),
        ("/instances", get(instances::show)),
        ("/new", get(new::show).post(new::make)),
        ("/new/name", get(new::name)),
        ("/new/key", post(new::key)),
        ("/new/telegram", post(new::telegram)),
        ("/operations/{id}", get(operation::show)),
        ("/operations/{id}/events", get(operation::events)),
        ("/instances/{name}", get(instance::show)),
        ("/instances/{name}/state", get(instance::state)),
        ("/instances/{name}/charts", get(instance::charts)),
        ("/instances/{name}/open", post(instance::open)),
        ("/instances/{name}/restart", post(instance::restart)),
        ("/instances/{name}/backup", post(instance::backup)),
        ("/instances/{name}/undo", post(instance::undo)),
        ("/instances/{name}/secrets", post(instance::secrets)),
        ("/instances/{name}/telegram", get(telegram::show)),
        ("/instances/{name}/telegram/approve", post(telegram::approve)),
        ("/instances/{name}/telegram/close", post(telegram::close)),
        ("/instances/{name}/logs", get(logs::show)),
        ("/instances/{name}/logs/stream", get(logs::stream)),
        ("/instances/{name}/restore/{snapshot}", get(restore::show).post(restore::restore)),
        ("/instances/{name}/remove", get(remove::show).post(remove::remove)),
        ("/account", get(account::show)),
        ("/account/confirm", post(account::confirm)),
        ("/account/password", post(account::password)),
        ("/account/passkeys/begin", post(passkeys::begin)),
        ("/account/passkeys/finish", post(passkeys::finish)),
        ("/account/passkeys/{id}/remove", post(account::remove_passkey)),
        ("/account/sessions/end-others", post(account::end_others)),
        ("/account/sessions/{id}/end", post(account::end_session)),
        ("/account/delete", get(delete::show).post(delete::delete)),
        ("/admin", get(admin::instances::show)),
        ("/admin/machine", get(admin::machine::show)),
        ("/admin/operations", get(admin::operations::show)),
        ("/admin/accounts", get(admin::accounts::show)),
        ("/admin/accounts/{id}", get(admin::account::show)),
        ("/admin/accounts/{id}/{what}", post(admin::account::change)),
        ("/admin/invites", get(admin::invites::show).post(admin::invites::make)),
        ("/admin/invites/{id}/revoke", post(admin::invites::revoke)),
        ("/admin/alerts", get(admin::alerts::show)),
    ]
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_addresses_go_together() {
        let mut router = axum::Router::new();
        for (path, methods) in super::routes() {
            router = router.route(path, methods);
        }
    }
}
