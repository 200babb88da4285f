//! The tags of objects: what vCenter's other interface, REST, knows and the event history does not.
//!
//! Every vCenter since 6.5 has it, an ESXi host has not. The session of its own that it needs is made with the first
//! question, made again when it has ended, and given back at the end.

use std::collections::{BTreeMap, HashMap};

use dispatch_driver_sdk::{ExposeSecret as _, SecretString};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::address::Address;
use crate::client::{body, causes};
use crate::soap::Reference;

const SESSION: &str = "com/vmware/cis/session";
const ASSOCIATION: &str = "com/vmware/cis/tagging/tag-association?~action=list-attached-tags-on-objects";
const TAG: &str = "com/vmware/cis/tagging/tag/id:";
const CATEGORY: &str = "com/vmware/cis/tagging/category/id:";
const TOKEN: &str = "vmware-api-session-id";
/// The most tags whose names are remembered; beyond it they are asked for anew.
const MAX_NAMES: usize = 5_000;

/// Names of tags by category.
pub(crate) type Tags = BTreeMap<String, Vec<String>>;

/// Why there are no tags.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TagError {
    /// The server refuses the user here; asking again soon may lock the account.
    #[error("the REST interface refuses the user")]
    Refused,
    /// The session has ended.
    #[error("the REST session has ended")]
    Ended,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// Asks one server for tags.
pub(crate) struct TagReader {
    http: reqwest::Client,
    base: String,
    username: String,
    password: SecretString,
    token: Option<SecretString>,
    names: HashMap<String, (String, String)>,
    categories: HashMap<String, String>,
}

/// What every answer is wrapped in.
#[derive(Deserialize)]
struct Answer<T> {
    value: T,
}

#[derive(Deserialize)]
struct Attached {
    object_id: Object,
    #[serde(default)]
    tag_ids: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Object {
    id: String,
    #[serde(rename = "type")]
    ty: String,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    category_id: String,
}

#[derive(Deserialize)]
struct Category {
    name: String,
}

impl TagReader {
    /// Prepares; nothing is sent yet.
    pub(crate) fn new(
        http: reqwest::Client,
        address: &Address,
        username: &str,
        password: SecretString,
    ) -> Self {
        Self {
            http,
            base: address.rest(),
            username: username.to_owned(),
            password,
            token: None,
            names: HashMap::new(),
            categories: HashMap::new(),
        }
    }

    /// The tags of these objects; one that has none is left out.
    pub(crate) async fn tags_of(
        &mut self,
        objects: &[Reference],
    ) -> Result<HashMap<Reference, Tags>, TagError> {
        match self.try_tags_of(objects).await {
            Err(TagError::Ended) => {
                self.token = None;
                self.try_tags_of(objects).await
            }
            read => read,
        }
    }

    /// Names may have changed.
    pub(crate) fn forget_names(&mut self) {
        self.names.clear();
        self.categories.clear();
    }

    /// Gives the session back.
    pub(crate) async fn close(&mut self) {
        if let Some(request) = self
            .token
            .is_some()
            .then(|| self.request(Method::DELETE, SESSION))
            && let Err(error) = request.send().await
        {
            tracing::debug!("the REST session ends by itself: {}", causes(error));
        }
        self.token = None;
    }

    async fn try_tags_of(&mut self, objects: &[Reference]) -> Result<HashMap<Reference, Tags>, TagError> {
        self.log_in().await?;
        let ids: Vec<Value> = objects
            .iter()
            .map(|o| json!({"id": o.value, "type": o.ty}))
            .collect();
        let question = json!({"object_ids": ids}).to_string();
        let request = self.request(Method::POST, ASSOCIATION);
        let request = request.header("content-type", "application/json").body(question);
        let attached: Option<Vec<Attached>> = answer(request).await?;
        let mut tags: HashMap<Reference, Tags> = HashMap::new();
        for Attached { object_id, tag_ids } in attached.unwrap_or_default() {
            for id in tag_ids.unwrap_or_default() {
                let (category, name) = self.name_of(&id).await?;
                let of = Reference::new(&object_id.ty, &object_id.id);
                tags.entry(of)
                    .or_default()
                    .entry(category)
                    .or_default()
                    .push(name);
            }
        }
        let lists = tags.values_mut().flat_map(BTreeMap::values_mut);
        lists.for_each(|names| names.sort());
        Ok(tags)
    }

    async fn log_in(&mut self) -> Result<(), TagError> {
        if self.token.is_some() {
            return Ok(());
        }
        let request = self.request(Method::POST, SESSION);
        let request = request.basic_auth(&self.username, Some(self.password.expose_secret()));
        match answer::<SecretString>(request).await {
            Ok(token) => self.token = Some(token),
            Err(TagError::Ended) => return Err(TagError::Refused),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Category and name of a tag.
    async fn name_of(&mut self, id: &str) -> Result<(String, String), TagError> {
        if let Some(known) = self.names.get(id) {
            return Ok(known.clone());
        }
        let tag: Tag = answer(self.request(Method::GET, &format!("{TAG}{id}"))).await?;
        let category = match self.categories.get(&tag.category_id) {
            Some(name) => name.clone(),
            None => {
                let path = format!("{CATEGORY}{}", tag.category_id);
                answer::<Category>(self.request(Method::GET, &path)).await?.name
            }
        };
        if self.names.len() >= MAX_NAMES {
            self.forget_names();
        }
        self.categories.insert(tag.category_id, category.clone());
        self.names
            .insert(id.to_owned(), (category.clone(), tag.name.clone()));
        Ok((category, tag.name))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}/{path}", self.base));
        match &self.token {
            Some(token) => request.header(TOKEN, token.expose_secret()),
            None => request,
        }
    }
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, TagError> {
    let failed = |error: String| TagError::Failed(error);
    let response = request.send().await.map_err(|e| failed(causes(e)))?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => return Err(TagError::Ended),
        status => return Err(failed(format!("HTTP status {status}"))),
    }
    let bytes = body(response).await.map_err(|e| failed(e.to_string()))?;
    // No error of serde is passed on: it may quote what it read, and that may be a token.
    let answer: Answer<T> =
        serde_json::from_slice(&bytes).map_err(|_| failed("an answer is not as expected".to_owned()))?;
    Ok(answer.value)
}
