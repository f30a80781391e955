//! Settings and tensors that the network does not implement are refused by name and value.

use super::build::{config, members, pack, read_bytes, refusal, tar_of};

/// The refusal of a fixture with one change in its configuration.
fn changed(model: &str, from: &str, to: &str) -> String {
    let mut members = members(model);
    let text = config(&members);
    assert!(text.contains(from), "{model} has no {from}");
    members.insert("model_config.yaml".into(), text.replacen(from, to, 1).into_bytes());
    refusal(read_bytes(&pack(&members)))
}

#[test]
fn unsupported_settings() {
    for (model, from, to, wanted) in [
        (
            "stream_hybrid",
            "  pad_to: 0",
            "  pad_to: 0\n  exact_pad: true",
            "preprocessor.exact_pad = true is not supported",
        ),
        (
            "stream_hybrid",
            "  window: hann",
            "  window: hamming",
            "preprocessor.window = hamming",
        ),
        ("stream_hybrid", "  n_fft: 512", "  n_fft: 1024", "preprocessor.n_fft = 1024"),
        (
            "stream_hybrid",
            "  window_size: 0.025",
            "  window_size: 0.02",
            "preprocessor.window_size = 0.02",
        ),
        (
            "stream_hybrid",
            "  window_stride: 0.01",
            "  window_stride: 0.02",
            "preprocessor.window_stride = 0.02",
        ),
        (
            "stream_hybrid",
            "  n_fft: 512",
            "  n_fft: 512\n  preemph: 0.9",
            "preprocessor.preemph = 0.9",
        ),
        (
            "stream_hybrid",
            "  n_fft: 512",
            "  n_fft: 512\n  log: false",
            "preprocessor.log = false",
        ),
        (
            "stream_hybrid",
            "  frame_splicing: 1",
            "  frame_splicing: 3",
            "preprocessor.frame_splicing = 3",
        ),
        (
            "stream_hybrid",
            "  normalize: NA",
            "  normalize: all_features",
            "preprocessor.normalize = all_features",
        ),
        ("stream_hybrid", "  features: 80", "  features: 64", "preprocessor.features = 64"),
        ("stream_hybrid", "sample_rate: 16000", "sample_rate: 8000", "sample_rate = 8000"),
        (
            "stream_hybrid",
            "  subsampling: dw_striding",
            "  subsampling: striding",
            "encoder.subsampling = striding",
        ),
        (
            "stream_hybrid",
            "  subsampling: dw_striding\n",
            "",
            "encoder.subsampling = null is not supported (dw_striding)",
        ),
        (
            "stream_hybrid",
            "  subsampling_factor: 8",
            "  subsampling_factor: 4",
            "encoder.subsampling_factor = 4",
        ),
        (
            "stream_hybrid",
            "self_attention_model: rel_pos",
            "self_attention_model: rel_pos_local_attn",
            "= rel_pos_local_attn",
        ),
        ("stream_hybrid", "  feat_out: -1", "  feat_out: 32", "encoder.feat_out = 32"),
        (
            "stream_hybrid",
            "  feat_out: -1",
            "  reduction: pooling",
            "encoder.reduction = pooling",
        ),
        ("stream_hybrid", "  feat_out: -1", "  bypass: 3", "encoder.bypass = 3"),
        (
            "stream_hybrid",
            "conv_norm_type: layer_norm",
            "conv_norm_type: group_norm",
            "encoder.conv_norm_type = group_norm",
        ),
        (
            "stream_hybrid",
            "conv_context_size: causal",
            "conv_context_size: [3, 3]",
            "encoder.conv_context_size = [3, 3]",
        ),
        (
            "stream_hybrid",
            "att_context_style: chunked_limited",
            "att_context_style: banded",
            "encoder.att_context_style = banded",
        ),
        (
            "stream_hybrid",
            "  - - 70\n    - 13",
            "  - - 70\n    - 3",
            "encoder.att_context_size",
        ),
        ("stream_hybrid", "  n_heads: 4", "  n_heads: 5", "encoder.n_heads = 5"),
        ("stream_hybrid", "  n_layers: 3", "  n_layers: 0", "encoder.n_layers = 0"),
        (
            "stream_hybrid",
            "  n_layers: 3",
            "  n_layers: many",
            "encoder.n_layers is many, expected a whole number",
        ),
        ("stream_hybrid", "  n_layers: 3\n", "", "setting encoder.n_layers is missing"),
        ("stream_hybrid", "  n_layers: 3", "  n_layers: ${encoder.n_layers}", "leads nowhere"),
        (
            "stream_hybrid",
            "  n_layers: 3",
            "  n_layers: ${nothing.here}",
            "${nothing.here}, which leads nowhere",
        ),
        (
            "stream_hybrid",
            "blank_as_pad: true",
            "blank_as_pad: false",
            "decoder.blank_as_pad = false",
        ),
        (
            "stream_hybrid",
            "  normalization_mode: null",
            "  normalization_mode: layer",
            "decoder.normalization_mode = layer",
        ),
        (
            "stream_hybrid",
            "    pred_rnn_layers: 1",
            "    pred_rnn_layers: 1\n    rnn_hidden_size: 128",
            "decoder.prednet.rnn_hidden_size = 128",
        ),
        (
            "stream_hybrid",
            "    activation: relu",
            "    activation: tanh",
            "joint.jointnet.activation = tanh",
        ),
        (
            "stream_hybrid",
            "    max_symbols: 10",
            "    max_symbols: 0",
            "decoding.greedy.max_symbols = 0",
        ),
        (
            "stream_hybrid",
            "  num_classes: 128\n  vocabulary",
            "  num_classes: 127\n  vocabulary",
            "joint.num_classes = 127",
        ),
        (
            "stream_hybrid",
            "modules.ConformerEncoder",
            "modules.SqueezeformerEncoder",
            "SqueezeformerEncoder",
        ),
        (
            "stream_hybrid",
            "modules.RNNTDecoder",
            "modules.StatelessTransducerDecoder",
            "StatelessTransducerDecoder",
        ),
        ("stream_hybrid", "  type: bpe", "  type: char", "tokenizer.type = char"),
        (
            "stream_hybrid",
            "model_path: nemo:",
            "model_path: nemo:no",
            "which the archive does not have",
        ),
        ("stream_prompt", "    de-DE: 3", "    de-DE: 16", "model_defaults.prompt_dictionary"),
        ("offline_tdt", "  - 3\n  - 4\nloss", "  - 3\nloss", "decoding.durations"),
        (
            "offline_tdt",
            "att_context_style: regular",
            "att_context_style: chunked_limited_with_rc",
            "chunked_limited_with_rc",
        ),
    ] {
        let refusal = changed(model, from, to);
        assert!(refusal.contains(wanted), "{to:?} gave: {refusal}");
    }
}

#[test]
fn full_attention_with_right_context_style_is_regular() {
    let mut members = members("offline_tdt");
    let text = config(&members)
        .replace(
            "att_context_style: regular",
            "att_context_style: chunked_limited_with_rc\n  conv_context_style: dcc",
        )
        .replace("  att_context_size:\n  - -1\n  - -1", "  att_context_size: [-1, -1, -1]");
    members.insert("model_config.yaml".into(), text.into_bytes());
    let encoder = read_bytes(&pack(&members)).unwrap().architecture.encoder;
    assert_eq!(
        (encoder.attention, encoder.contexts),
        (crate::model::arch::Attention::Regular, vec![[-1, -1]])
    );
}

#[test]
fn tensors_that_do_not_fit_the_configuration() {
    for (from, to, wanted) in [
        (
            "  n_layers: 3",
            "  n_layers: 4",
            "tensor encoder.layers.3.norm_feed_forward1.weight is missing",
        ),
        ("  n_layers: 3", "  n_layers: 2", "tensor encoder.layers.2."),
        (
            "  conv_kernel_size: 9",
            "  conv_kernel_size: 7",
            "conv.depthwise_conv.weight has shape [64, 1, 9]",
        ),
        (
            "  conv_norm_type: layer_norm",
            "  conv_norm_type: batch_norm",
            "batch_norm.running_mean is missing",
        ),
        (
            "  causal_downsampling: true",
            "  causal_downsampling: false",
            "encoder.pre_encode.out.weight has shape [64, 352]",
        ),
        ("    pred_rnn_layers: 1", "    pred_rnn_layers: 2", "weight_ih_l1 is missing"),
        (
            "    joint_hidden: 64\n    activation",
            "    joint_hidden: 65\n    activation",
            "joint.",
        ),
        (
            "  subsampling_conv_channels: 32",
            "  subsampling_conv_channels: 16",
            "encoder.pre_encode.conv.0.",
        ),
    ] {
        let refusal = changed("stream_hybrid", from, to);
        assert!(
            refusal.contains("does not fit its configuration") && refusal.contains(wanted),
            "{to:?} gave: {refusal}"
        );
    }
    assert!(changed("stream_hybrid", "  features: 80", "  features: 128").contains("encoder.feat_in = 80"));
}

#[test]
fn archives_without_the_needed_members() {
    for (left_out, wanted) in [
        ("model_config.yaml", "the archive has no member model_config.yaml"),
        ("model_weights.ckpt", "the archive has no member model_weights.ckpt"),
        ("tokenizer.model", "which the archive does not have"),
    ] {
        let mut members = members("offline_ctc");
        members.retain(|name, _| !name.ends_with(left_out));
        let refusal = refusal(read_bytes(&pack(&members)));
        assert!(refusal.contains(wanted), "{refusal}");
    }
    assert!(refusal(read_bytes(b"not an archive")).contains("not a .nemo archive"));
    assert!(refusal(read_bytes(&[])).contains("not a .nemo archive"));
    let members = members("offline_ctc");
    let twice = [("model_config.yaml", members["model_config.yaml"].as_slice()); 2];
    assert!(refusal(read_bytes(&tar_of(twice))).contains("model_config.yaml twice"));
}
