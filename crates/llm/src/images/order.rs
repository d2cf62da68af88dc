//! OpenAI's request for images, and finding the images in an answer, whoever made them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::format::Format;

/// An image that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeImage {
    /// Its media type, such as `image/png`.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A request to OpenAI's API for images.
#[derive(Debug, Clone, Default)]
pub struct ImageOrder {
    /// What is to be seen.
    pub prompt: String,
    /// How many.
    pub count: u64,
    /// Width and height, such as `1024x1024`; the model's choice if absent.
    pub size: Option<String>,
    /// Images to go by, each with its media type.
    pub references: Vec<(String, Vec<u8>)>,
}

impl ImageOrder {
    /// The request for a model, and the format it is in.
    pub fn spoken(&self, model: &str) -> (Format, Vec<u8>) {
        let mut body = json!({ "model": model, "prompt": self.prompt, "n": self.count });
        if let Some(size) = &self.size {
            body["size"] = size.as_str().into();
        }
        if self.references.is_empty() {
            return (Format::OpenAiImages, body.to_string().into_bytes());
        }
        let data = |(media_type, bytes): &(String, Vec<u8>)| json!({ "image_url": format!("data:{media_type};base64,{}", BASE64_STANDARD.encode(bytes)) });
        body["images"] = self.references.iter().map(data).collect();
        (Format::OpenAiImageEdits, body.to_string().into_bytes())
    }
}

impl Format {
    /// The images of a whole answer. What cannot be decoded is no image.
    pub fn made_images(self, body: &[u8]) -> Vec<MadeImage> {
        let Ok(answer) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let decoded = |data: &Value, media_type: String| {
            let bytes = BASE64_STANDARD.decode(data.as_str()?).ok()?;
            Some(MadeImage { media_type, bytes })
        };
        if self == Self::Gemini {
            let parts = list(&answer["candidates"]).into_iter().flat_map(|one| list(&one["content"]["parts"]));
            let inline =
                parts.filter(|part| part["thought"] != true).filter_map(|part| part.get("inlineData").cloned());
            return inline
                .filter_map(|data| {
                    let media_type = data["mimeType"].as_str().filter(|kind| kind.starts_with("image/"))?.to_owned();
                    decoded(&data["data"], media_type)
                })
                .collect();
        }
        let kind = answer["output_format"].as_str().unwrap_or("png");
        list(&answer["data"]).iter().filter_map(|one| decoded(&one["b64_json"], format!("image/{kind}"))).collect()
    }
}
