//! What the first start makes: the usual images, a Python function, a schedule, two subscriptions, one event.
//!
//! Everything is made as REST would make it. What is there already is left alone, so an interrupted first start
//! is completed by the second; a file in the data folder says that it was done, so what people delete stays gone.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use dispatch_contract::Event;
use dispatch_schemas::{
    BaseImage, ConfigItem, Driver, DriverType, Function, Image, Resource as _, SEED_IMAGES, Status,
    Subscription,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::StatusCode;
use serde::Deserialize as _;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::door;
use crate::hub::App;
use crate::rest::error::ApiError;
use crate::rest::organization::DEFAULT_ORGANIZATION;

/// An image without anything to install, so that the first run does not wait for a download.
pub(super) const IMAGE: &str = "python3-plain";
/// Type of the events that people post by hand.
pub(super) const POSTED_TYPE: &str = "hello.said";
const FUNCTION: &str = "hello";
const HELLO: &str = include_str!("hello.py");
const DRIVER_TYPE: &str = "cron";
const DRIVER_IMAGE: &str = "dispatchframework/dispatch-events-cron:0.0.1";
/// Says that the seeds were made.
const DONE: &str = "quickstart";
/// How long the first run waits for its function.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Makes what is missing. `Some` says what people should know.
pub(super) async fn seed(app: &App) -> Result<Option<String>, ApiError> {
    let done = app.config.data.join(DONE);
    if tokio::fs::try_exists(&done).await.unwrap_or(false) {
        return Ok(None);
    }
    let organization: Arc<str> = DEFAULT_ORGANIZATION.into();
    images(app, &organization).await?;
    made(app.functions.create(&organization, function()?).await)?;
    for (name, ty) in [
        ("hello-every-ten-seconds", "cron.trigger"),
        ("hello-when-said", POSTED_TYPE),
    ] {
        let subscription = Subscription {
            name: name.to_owned(),
            event_type: Some(ty.to_owned()),
            function: Some(FUNCTION.to_owned()),
            ..Subscription::default()
        };
        made(app.subscriptions.create(app, &organization, subscription).await)?;
    }
    made(
        app.store
            .create(&organization, &driver_type())
            .await
            .map_err(ApiError::from),
    )?;
    made(app.drivers.create(&organization, driver()).await)?;
    let problem = until_ready(app, &organization).await?;
    if problem.is_none() {
        door::accept(
            app.log.as_ref(),
            &app.quotas,
            &organization,
            vec![first_event()?],
            None,
        )
        .await?;
    }
    if let Err(error) = tokio::fs::write(&done, "").await {
        tracing::warn!(%error, "the next start looks at the seeds again");
    }
    Ok(problem)
}

/// What is there already is as good as made.
fn made<T>(created: Result<T, ApiError>) -> Result<(), ApiError> {
    match created {
        Err(error) if error.status != StatusCode::CONFLICT => Err(error),
        _ => Ok(()),
    }
}

async fn images(app: &App, organization: &str) -> Result<(), ApiError> {
    let (bases, images) =
        seed_images().map_err(|error| ApiError::internal(format!("the seed images: {error}")))?;
    for base in bases {
        made(app.images.create_base(organization, base).await)?;
    }
    let plain = Image {
        name: IMAGE.to_owned(),
        base_image_name: "python3-base".to_owned(),
        ..Image::default()
    };
    for image in std::iter::once(plain).chain(images) {
        made(app.images.create(organization, image).await)?;
    }
    Ok(())
}

fn seed_images() -> Result<(Vec<BaseImage>, Vec<Image>), serde_norway::Error> {
    let (mut bases, mut images) = (Vec::new(), Vec::new());
    for document in serde_norway::Deserializer::from_str(SEED_IMAGES) {
        let document = serde_norway::Value::deserialize(document)?;
        match document.get("kind").and_then(|kind| kind.as_str()) {
            Some(BaseImage::KIND) => bases.push(serde_norway::from_value(document)?),
            _ => images.push(serde_norway::from_value(document)?),
        }
    }
    Ok((bases, images))
}

fn function() -> Result<Function, ApiError> {
    let packed = pack("hello.py", HELLO).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(Function {
        name: FUNCTION.to_owned(),
        image: IMAGE.to_owned(),
        source: Some(STANDARD.encode(packed)),
        ..Function::default()
    })
}

/// A source folder as clients send it.
fn pack(name: &str, content: &str) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, content.as_bytes())?;
    archive.into_inner()?.finish()
}

fn driver_type() -> DriverType {
    DriverType {
        name: DRIVER_TYPE.to_owned(),
        image: DRIVER_IMAGE.to_owned(),
        ..DriverType::default()
    }
}

fn driver() -> Driver {
    Driver {
        name: "every-ten-seconds".to_owned(),
        ty: DRIVER_TYPE.to_owned(),
        config: vec![ConfigItem {
            key: "cron".to_owned(),
            value: "0/10 * * * *".to_owned(),
        }],
        ..Driver::default()
    }
}

fn first_event() -> Result<Event, ApiError> {
    let event = Event::builder(Uuid::now_v7().to_string(), "/dispatch/quickstart", POSTED_TYPE)
        .time(Utc::now())
        .json(r#"{"name":"Jon","place":"Winterfell"}"#)
        .build()?;
    Ok(event)
}

/// Waits for the function; says why it will not come.
async fn until_ready(app: &App, organization: &str) -> Result<Option<String>, ApiError> {
    let end = Instant::now() + PATIENCE;
    loop {
        let function: Function = app.store.get(organization, FUNCTION).await?;
        match function.status {
            Some(Status::Ready) => return Ok(None),
            Some(Status::Error) => {
                let reasons = function.reason.unwrap_or_default().join("; ");
                return Ok(Some(format!(
                    "the function {FUNCTION} cannot run here: {reasons}"
                )));
            }
            _ if Instant::now() > end => {
                return Ok(Some(format!(
                    "the function {FUNCTION} is not ready yet; its runs come when it is"
                )));
            }
            _ => sleep(POLL).await,
        }
    }
}
