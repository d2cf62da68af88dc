//! Images that are made.
//!
//! Google's models make them in a conversation, OpenAI's in an API of their own; which it is follows from the wire of the
//! provider that offers the model. Either way it is a request like all others: decided, recorded with its end, priced by
//! tokens or by image as the price table has it.

use std::time::Instant;

use futures_util::StreamExt as _;
use systemprompt_llm::catalog::Capabilities;
use systemprompt_llm::neutral::{ImageOutput, Part, Request, Tool, WebSearch};
use systemprompt_llm::{Hearing, ImageOrder, InferenceRequest};
use systemprompt_model::{ActionId, Attribution, Microdollars};

use super::ai::{AiService, settled};
use super::error::AiError;
use super::message::AiMessage;
use super::request::AiRequest;
use super::response::AiUsage;
use super::speaking::{Asking, conversation, leads_there, speak, unsupported};
use crate::ask::{Ask, Forwarded};
use crate::config::ProviderWire;
use crate::routing::Listed;
use crate::settled::Inside;
use crate::snapshot::GatewaySnapshot;

/// How many images of a batch are made at the same time, unless it is said.
const AT_ONCE: usize = 4;

/// An image that is to be made.
#[derive(Debug, Clone)]
pub struct ImageRequest {
    /// Who asks.
    pub by: Attribution,
    /// What is to be seen.
    pub prompt: String,
    /// The provider that is to make it.
    pub provider: Option<String>,
    /// The model; `default_image_model` of the provider, or of `ai.default_provider`, if absent.
    pub model: Option<String>,
    /// How large.
    pub resolution: Option<ImageResolution>,
    /// Width to height.
    pub aspect_ratio: Option<AspectRatio>,
    /// Images to go by.
    pub reference_images: Vec<ReferenceImage>,
    /// The provider may search the web for what is to be seen.
    pub search: bool,
    /// How many; more than one at OpenAI only. See [`AiService::generate_images`].
    pub count: u32,
}

impl ImageRequest {
    /// One image, as the default model makes it.
    pub fn new(by: Attribution, prompt: impl Into<String>) -> Self {
        Self {
            by,
            prompt: prompt.into(),
            provider: None,
            model: None,
            resolution: None,
            aspect_ratio: None,
            reference_images: Vec::new(),
            search: false,
            count: 1,
        }
    }
}

/// An image to go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceImage {
    /// Its media type, such as `image/png`.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// How large an image is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageResolution {
    /// About a million pixels.
    OneK,
    /// About four million.
    TwoK,
    /// As many as there can be.
    FourK,
}

impl ImageResolution {
    /// Google's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OneK => "1K",
            Self::TwoK => "2K",
            Self::FourK => "4K",
        }
    }
}

/// The width of an image to its height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AspectRatio {
    /// 1:1.
    Square,
    /// 16:9.
    Wide,
    /// 9:16.
    Tall,
    /// 4:3.
    Landscape,
    /// 3:4.
    Portrait,
    /// 21:9.
    Cinema,
}

impl AspectRatio {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Square => "1:1",
            Self::Wide => "16:9",
            Self::Tall => "9:16",
            Self::Landscape => "4:3",
            Self::Portrait => "3:4",
            Self::Cinema => "21:9",
        }
    }
}

/// Images that were made.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageResponse {
    /// The record of the request.
    pub request_id: ActionId,
    /// The provider that made them.
    pub provider: String,
    /// The model that made them.
    pub model: String,
    /// The images, at least one.
    pub images: Vec<GeneratedImage>,
    /// What the model said to them.
    pub text: String,
    /// What was used, as the ledger has it.
    pub usage: AiUsage,
    /// What it cost, as the ledger has it.
    pub cost_microdollars: Microdollars,
    /// From the question to the end of the answer, in milliseconds.
    pub latency_ms: u64,
}

/// An image that was made. Nothing keeps it: store it, or hand it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedImage {
    /// Its media type, such as `image/png`.
    pub media_type: String,
    /// Its bytes; their number is its size.
    pub bytes: Vec<u8>,
}

impl AiService {
    /// Has an image made.
    pub async fn generate_image(&self, request: &ImageRequest) -> Result<ImageResponse, AiError> {
        let snapshot = self.inference.snapshot();
        let model = image_model(&snapshot, request)?;
        let Some(listed) = snapshot.table.listed(&model) else {
            let message =
                format!("no provider offers the model `{model}`; list it in `providers[].models` of the profile");
            return Err(AiError::NoModel(message));
        };
        let wire = listed.provider.wire;
        let Capabilities { image_generation, image_resolution_config, .. } = listed.model.capabilities;
        let of_google = matches!(wire, ProviderWire::Gemini | ProviderWire::VertexGemini);
        let of_openai = matches!(wire, ProviderWire::OpenAiChat | ProviderWire::OpenAiResponses);
        if !image_generation || !(of_google || of_openai) {
            return Err(unsupported(listed, "requests for images", "`image_generation`"));
        }
        if request.resolution.is_some() && !image_resolution_config {
            return Err(unsupported(listed, "a resolution", "`image_resolution_config`"));
        }
        match request.count {
            0 => return Err(AiError::Invalid("`count` is 0; ask for one image or more".to_owned())),
            2.. if of_google => {
                return Err(cannot(listed, "several images at once", "make a batch: `generate_images`"));
            }
            _ => {}
        }
        if of_google {
            self.in_conversation(&snapshot, request, &model).await
        } else {
            self.by_order(&snapshot, request, listed).await
        }
    }

    /// Has several images made, so many at a time, 4 unless it is said. Each is a request of its own, and what becomes of
    /// one changes nothing for the others; the results come in the order of the requests.
    pub async fn generate_images(
        &self,
        requests: &[ImageRequest],
        at_once: Option<usize>,
    ) -> Vec<Result<ImageResponse, AiError>> {
        let made = futures_util::stream::iter(requests.iter().map(|request| self.generate_image(request)));
        made.buffered(at_once.unwrap_or(AT_ONCE).max(1)).collect().await
    }

    /// Of a model that makes them in a conversation.
    async fn in_conversation(
        &self,
        snapshot: &GatewaySnapshot,
        request: &ImageRequest,
        model: &str,
    ) -> Result<ImageResponse, AiError> {
        let references = request.reference_images.iter();
        let message = references.fold(AiMessage::user(request.prompt.clone()), |message, image| {
            message.with_image(image.media_type.clone(), &image.bytes)
        });
        let question = AiRequest {
            provider: request.provider.clone(),
            model: Some(model.to_owned()),
            ..AiRequest::new(request.by.clone(), vec![message])
        };
        let meant = |said: &mut Request| {
            // An image has tokens too, and is whole or nothing.
            said.max_output_tokens = None;
            said.output.images = Some(ImageOutput {
                aspect_ratio: request.aspect_ratio.map(|ratio| ratio.as_str().to_owned()),
                size: request.resolution.map(|resolution| resolution.as_str().to_owned()),
            });
            if request.search {
                said.tools.push(Tool::WebSearch(WebSearch::default()));
            }
        };
        let asking = speak(snapshot, &question, &meant)?;
        self.made(asking).await
    }

    /// Of a model that has an API for them.
    async fn by_order(
        &self,
        snapshot: &GatewaySnapshot,
        request: &ImageRequest,
        listed: &Listed,
    ) -> Result<ImageResponse, AiError> {
        let begun = Instant::now();
        if request.search {
            return Err(cannot(
                listed,
                "a search of the web for an image",
                "leave it out or choose a model of Google's",
            ));
        }
        let references = request.reference_images.iter();
        let order = ImageOrder {
            prompt: request.prompt.clone(),
            count: u64::from(request.count),
            size: size(request, listed)?,
            references: references.map(|image| (image.media_type.clone(), image.bytes.clone())).collect(),
        };
        let (format, body) = order.spoken(&listed.model.id);
        let asked = InferenceRequest::parse(format, body.into())?;
        let conversation = conversation(&request.by);
        if let Ok(way) = snapshot.table.resolve(&asked, conversation.as_deref()) {
            leads_there(snapshot, &way.first, &listed.model.id, request.provider.as_deref())?;
        }
        let (inside, settling) = Inside::new(Vec::new(), snapshot.ai.disabled());
        let forwarded = Forwarded { conversation, received: Some(begun), ..Forwarded::default() };
        let ask = Ask { by: request.by.clone(), request: asked, forwarded };
        self.made(Asking { ask, inside, settling, hearing: Hearing::of(format), searches: false, begun }).await
    }

    /// Asks, and finds the images in the answer.
    async fn made(&self, asking: Asking) -> Result<ImageResponse, AiError> {
        let Asking { ask, inside, mut settling, hearing, begun, .. } = asking;
        let format = hearing.format();
        let reply = self.inference.ask_from_inside(ask, inside).await?;
        let (id, status, headers) = (reply.request, reply.status, reply.headers);
        let body = reply.body.whole().await;
        if !status.is_success() {
            let error = format.error_of(status.as_u16(), &body);
            return Err(AiError::answered(id, error, &headers, self.inference.ambient.now()));
        }
        let images: Vec<GeneratedImage> = format
            .made_images(&body)
            .into_iter()
            .map(|image| GeneratedImage { media_type: image.media_type, bytes: image.bytes })
            .collect();
        let answer = hearing.whole(&body).unwrap_or_default();
        let text: String = answer.parts.iter().filter_map(words).collect();
        if images.is_empty() {
            let message =
                format!("the model made no image{}", if text.is_empty() { String::new() } else { format!(": {text}") });
            return Err(AiError::interrupted(id, 502, message));
        }
        let settled = settled(&mut settling, id, &answer);
        Ok(ImageResponse {
            request_id: id,
            provider: settled.provider,
            model: settled.model,
            images,
            text,
            usage: settled.usage.into(),
            cost_microdollars: settled.cost,
            latency_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// What a part says in words.
fn words(part: &Part) -> Option<&str> {
    match part {
        Part::Text(text) => Some(&text.text),
        Part::Refusal(text) => Some(text),
        _ => None,
    }
}

/// The model to ask for an image.
fn image_model(snapshot: &GatewaySnapshot, request: &ImageRequest) -> Result<String, AiError> {
    if let Some(model) = &request.model {
        return Ok(model.clone());
    }
    let ai = &snapshot.ai;
    let provider = request.provider.as_ref().or(ai.default_provider.as_ref());
    let model = provider.and_then(|provider| ai.providers.get(provider)?.default_image_model.clone());
    model.ok_or_else(|| {
        let of = provider.map_or("<provider>", String::as_str);
        AiError::NoModel(format!("no model is named, and `ai.providers.{of}.default_image_model` is not set; name one"))
    })
}

/// Something the provider of a model does not do.
fn cannot(listed: &Listed, what: &str, fix: &'static str) -> AiError {
    AiError::Unsupported {
        model: listed.model.id.clone(),
        provider: listed.provider.name.to_string(),
        what: what.to_owned(),
        fix,
    }
}

/// Width and height for OpenAI's models, exactly in the ratio: those that take a resolution take any size whose sides are
/// multiples of 16; the others are square or as they like.
fn size(request: &ImageRequest, listed: &Listed) -> Result<Option<String>, AiError> {
    let any_size = listed.model.capabilities.image_resolution_config;
    let ratio = match (request.aspect_ratio, request.resolution) {
        (None, None) => return Ok(None),
        (ratio, _) => ratio.unwrap_or(AspectRatio::Square),
    };
    if !any_size && ratio != AspectRatio::Square {
        return Err(cannot(
            listed,
            "this aspect ratio",
            "leave it out, or choose a model with `image_resolution_config`",
        ));
    }
    let (long, short) = match (ratio, request.resolution.unwrap_or(ImageResolution::OneK)) {
        (AspectRatio::Square, ImageResolution::OneK) => (1024, 1024),
        (AspectRatio::Square, ImageResolution::TwoK) => (2048, 2048),
        (AspectRatio::Square, ImageResolution::FourK) => (2880, 2880),
        (AspectRatio::Wide | AspectRatio::Tall, ImageResolution::OneK) => (1280, 720),
        (AspectRatio::Wide | AspectRatio::Tall, ImageResolution::TwoK) => (2560, 1440),
        (AspectRatio::Wide | AspectRatio::Tall, ImageResolution::FourK) => (3840, 2160),
        (AspectRatio::Landscape | AspectRatio::Portrait, ImageResolution::OneK) => (1152, 864),
        (AspectRatio::Landscape | AspectRatio::Portrait, ImageResolution::TwoK) => (2304, 1728),
        (AspectRatio::Landscape | AspectRatio::Portrait, ImageResolution::FourK) => (3264, 2448),
        (AspectRatio::Cinema, ImageResolution::OneK) => (1568, 672),
        (AspectRatio::Cinema, ImageResolution::TwoK) => (3136, 1344),
        (AspectRatio::Cinema, ImageResolution::FourK) => (3808, 1632),
    };
    Ok(Some(match ratio {
        AspectRatio::Tall | AspectRatio::Portrait => format!("{short}x{long}"),
        AspectRatio::Square | AspectRatio::Wide | AspectRatio::Landscape | AspectRatio::Cinema => {
            format!("{long}x{short}")
        }
    }))
}
