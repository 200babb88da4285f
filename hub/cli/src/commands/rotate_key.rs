//! `dispatch rotate-key`: a new key for the hub's secrets.

use serde_json::Value;

use crate::client::Route;
use crate::commands::Session;
use crate::resource::text;

/// Says what the new key is called.
pub(crate) async fn run(session: &Session) -> anyhow::Result<()> {
    let route = Route::to("/v1/secretkey/rotate");
    let rotated = session.client.post(route, &Value::Null).await?;
    session.format.print(&rotated, || {
        format!("Rotated secret key: {}\n", text(&rotated, "key"))
    })
}
