//! What a collector answers.

use prost::Message;

/// `Export…ServiceResponse`, which has the same shape for every signal.
#[derive(Clone, PartialEq, Message)]
pub struct ExportReply {
    /// What was not taken; absent if everything was.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// `Export…PartialSuccess`.
#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    /// How many spans, records or data points.
    #[prost(int64, tag = "1")]
    pub rejected: i64,
    /// Why.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// `google.rpc.Status`: what a failed request is answered with.
#[derive(Clone, PartialEq, Message)]
pub struct RpcStatus {
    /// The canonical code of the error.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// What is wrong, for developers.
    #[prost(string, tag = "2")]
    pub message: String,
}
