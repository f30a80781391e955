//! The architecture of one checkpoint: every number that the network code needs, as plain data.
//!
//! Source of the meanings and defaults: the FastConformer configuration of NeMo (`encoder`, `decoder`, `joint`,
//! `preprocessor` sections). Biases, batch-norm statistics and heads are found by the presence of their tensors, not here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything needed to build the network for one checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Log-mel front end.
    pub frontend: Frontend,
    /// Convolutional subsampling and conformer blocks.
    pub encoder: Encoder,
    /// Vocabulary size without blank; blank is id `vocabulary`.
    pub vocabulary: usize,
    /// True if the checkpoint has a CTC head.
    pub ctc: bool,
    /// Prediction network and joint, if the checkpoint has a transducer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transducer: Option<Transducer>,
    /// Language prompt, if the checkpoint has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Prompt>,
}

/// Log-mel front end at 16 kHz, window 400, hop 160, 512-point FFT, pre-emphasis 0.97, guard 2^-24.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frontend {
    /// Mel bins: 80 or 128.
    pub mel_bins: usize,
    /// Normalization of the features.
    pub normalize: Normalize,
}

/// Normalization of log-mel features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// None (streaming checkpoints).
    None,
    /// Mean and unbiased deviation per mel bin over the whole utterance (offline checkpoints).
    PerFeature,
}

/// FastConformer encoder with 8x depthwise-striding subsampling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoder {
    /// Conformer blocks.
    pub layers: usize,
    /// Model width `D`.
    pub width: usize,
    /// Attention heads `H`; `D / H` is the width of one.
    pub heads: usize,
    /// Channels of the subsampling convolutions.
    pub subsampling_channels: usize,
    /// True: pad 2 left and 1 right in the subsampling; false: 1 and 1.
    pub causal_subsampling: bool,
    /// Inner width of the feed-forward modules, as a multiple of `D`.
    pub ff_expansion: usize,
    /// Depthwise kernel size `K`.
    pub conv_kernel: usize,
    /// Zeros (or cached frames) left and right of the depthwise convolution; they sum to `K - 1`.
    pub conv_context: [usize; 2],
    /// Normalization inside the convolution module.
    pub conv_norm: ConvNorm,
    /// Multiply the subsampled frames by `sqrt(D)`.
    pub scale_input: bool,
    /// How the attention context is read.
    pub attention: Attention,
    /// Allowed `[left, right]` contexts in encoder frames, -1 unlimited; the first is the default.
    pub contexts: Vec<[i32; 2]>,
}

/// Normalization inside the convolution module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConvNorm {
    /// Per channel with running statistics.
    BatchNorm,
    /// Over channels, per frame.
    LayerNorm,
}

/// Meaning of a `[left, right]` attention context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attention {
    /// Query `i` sees keys `i - left ..= i + right`.
    Regular,
    /// Chunks of `right + 1` frames; a frame sees its own chunk and `left` frames before it.
    Chunked,
}

/// RNN-T or TDT prediction network and joint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transducer {
    /// Hidden size of the LSTM.
    pub prediction_width: usize,
    /// LSTM layers.
    pub prediction_layers: usize,
    /// Hidden size of the joint.
    pub joint_width: usize,
    /// Most symbols emitted at one frame.
    pub max_symbols: usize,
    /// TDT durations; empty for RNN-T.
    #[serde(default)]
    pub durations: Vec<u32>,
}

/// Language prompt: a one-hot appended to each encoder frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// Slots of the one-hot.
    pub slots: usize,
    /// Locale to slot; several locales may share one.
    pub dictionary: BTreeMap<String, usize>,
    /// Locale used when a request names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

impl Encoder {
    /// True if the checkpoint can run chunk by chunk with caches: chunked mask, causal convolutions, causal subsampling.
    pub fn streams(&self) -> bool {
        self.attention == Attention::Chunked && self.causal_subsampling && self.conv_context == [self.conv_kernel.saturating_sub(1), 0]
    }
}
