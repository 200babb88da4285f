//! What SNS signs, and whether it did: versions 1 (SHA-1) and 2 (SHA-256) of its signature, RSA with PKCS #1 v1.5. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RsaParameters,
    UnparsedPublicKey,
};
use x509_parser::pem::parse_x509_pem;

/// A request of SNS, as it is signed.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Signed {
    #[serde(rename = "Type")]
    pub(crate) ty: String,
    pub(crate) message_id: String,
    pub(crate) topic_arn: String,
    pub(crate) subject: Option<String>,
    pub(crate) message: String,
    pub(crate) timestamp: String,
    /// Of confirmations.
    pub(crate) token: Option<String>,
    /// Of confirmations.
    #[serde(rename = "SubscribeURL")]
    pub(crate) subscribe_url: Option<String>,
    signature_version: String,
    signature: String,
    #[serde(rename = "SigningCertURL", alias = "SigningCertUrl")]
    pub(crate) certificate: String,
}

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    #[error("SignatureVersion {0:?} is neither 1 nor 2")]
    Version(String),
    #[error("the signature is wrong")]
    Wrong,
}

impl Signed {
    /// The text that is signed: each name and value on a line of its own.
    fn text(&self) -> String {
        let subject = self.subject.as_deref();
        let parts = match self.ty.as_str() {
            "Notification" => [
                ("Message", Some(self.message.as_str())),
                ("MessageId", Some(&self.message_id)),
                ("Subject", subject),
                ("Timestamp", Some(&self.timestamp)),
                ("TopicArn", Some(&self.topic_arn)),
                ("Type", Some(&self.ty)),
            ]
            .to_vec(),
            _ => [
                ("Message", Some(self.message.as_str())),
                ("MessageId", Some(&self.message_id)),
                ("SubscribeURL", self.subscribe_url.as_deref()),
                ("Timestamp", Some(&self.timestamp)),
                ("Token", self.token.as_deref()),
                ("TopicArn", Some(&self.topic_arn)),
                ("Type", Some(&self.ty)),
            ]
            .to_vec(),
        };
        let given = parts.iter().filter_map(|(name, value)| Some((name, (*value)?)));
        given.map(|(name, value)| format!("{name}\n{value}\n")).collect()
    }

    /// Whether whoever has the key signed this.
    pub(crate) fn verify(&self, key: &PublicKey) -> Result<(), SignatureError> {
        let algorithm: &RsaParameters = match self.signature_version.as_str() {
            "1" => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            "2" => &RSA_PKCS1_2048_8192_SHA256,
            other => return Err(SignatureError::Version(other.chars().take(10).collect())),
        };
        let signature = STANDARD
            .decode(&self.signature)
            .map_err(|_| SignatureError::Wrong)?;
        UnparsedPublicKey::new(algorithm, &key.0)
            .verify(self.text().as_bytes(), &signature)
            .map_err(|_| SignatureError::Wrong)
    }
}

/// An RSA key.
#[derive(Debug, Clone)]
pub(crate) struct PublicKey(Vec<u8>);

impl PublicKey {
    /// The key of a certificate in PEM, in its time. Who signed the certificate is not looked at: where it came from
    /// says whose it is.
    pub(crate) fn of_certificate(pem: &[u8]) -> Result<Self, String> {
        let (_, pem) = parse_x509_pem(pem).map_err(|e| format!("is no certificate: {e}"))?;
        let certificate = pem.parse_x509().map_err(|e| format!("is no certificate: {e}"))?;
        match certificate.validity().is_valid() {
            true => Ok(Self(certificate.public_key().subject_public_key.data.to_vec())),
            false => Err("is not in its time".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_the_text_of_the_documentation() {
        let confirmation = r#"{"Type":"SubscriptionConfirmation","MessageId":"m","Token":"t","TopicArn":"a",
            "Message":"hi","SubscribeURL":"https://x/","Timestamp":"2012-04-26T20:45:04.751Z",
            "SignatureVersion":"1","Signature":"","SigningCertURL":"https://y/"}"#;
        let signed: Signed = serde_json::from_str(confirmation).unwrap();
        assert_eq!(
            signed.text(),
            "Message\nhi\nMessageId\nm\nSubscribeURL\nhttps://x/\nTimestamp\n2012-04-26T20:45:04.751Z\nToken\nt\n\
             TopicArn\na\nType\nSubscriptionConfirmation\n"
        );
        let notification = |subject: &str| {
            let text = format!(
                r#"{{"Type":"Notification","MessageId":"m","TopicArn":"a",{subject}"Message":"hi\nthere",
                "Timestamp":"2012","SignatureVersion":"1","Signature":"","SigningCertURL":"https://y/"}}"#
            );
            serde_json::from_str::<Signed>(&text).unwrap().text()
        };
        let without = "Message\nhi\nthere\nMessageId\nm\nTimestamp\n2012\nTopicArn\na\nType\nNotification\n";
        assert_eq!(notification(""), without);
        assert_eq!(notification(r#""Subject":null,"#), without);
        assert!(notification(r#""Subject":"s","#).contains("MessageId\nm\nSubject\ns\nTimestamp\n"));
    }
}
