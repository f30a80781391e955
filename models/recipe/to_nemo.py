# SPDX-License-Identifier: Apache-2.0
"""Write a trained model as a .nemo archive, restore it with NeMo and compare.

    python to_nemo.py --model RUN/model.pt --bpe RUN/bpe --out hark-starter-en.nemo [--check AUDIO.wav ...]

With --check (16 kHz), NeMo's words are printed; they have to be those of this recipe's own decoder, or it fails.
"""
import argparse
import os
import shutil
import tempfile

import sentencepiece
import torch

from augment import Augment
from model import Config, Model
from train import greedy

os.environ.setdefault("NEMO_TESTING", "1")


def nemo_config(config, tokenizer):
    return dict(
        sample_rate=16000,
        compute_eval_loss=False,
        log_prediction=False,
        skip_nan_grad=False,
        tokenizer=dict(dir=tokenizer, type="bpe"),
        preprocessor=dict(
            _target_="nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
            sample_rate=16000, normalize="NA", window_size=0.025, window_stride=0.01, window="hann", features=80,
            n_fft=512, frame_splicing=1, dither=1e-5, pad_to=0,
        ),
        encoder=dict(
            _target_="nemo.collections.asr.modules.ConformerEncoder",
            feat_in=80, feat_out=-1, n_layers=config.layers, d_model=config.dim, use_bias=True,
            subsampling="dw_striding", subsampling_factor=8, subsampling_conv_channels=config.channels,
            causal_downsampling=True, ff_expansion_factor=4, self_attention_model="rel_pos", n_heads=config.heads,
            att_context_size=[[70, 6], [70, 13], [68, 3], [70, 1]], att_context_style="chunked_limited",
            xscaling=False, untie_biases=True, pos_emb_max_len=5000, conv_kernel_size=config.kernel,
            conv_norm_type="layer_norm", conv_context_size="causal", dropout=config.dropout,
            dropout_pre_encoder=config.dropout, dropout_emb=0.0, dropout_att=0.0,
        ),
        decoder=dict(
            _target_="nemo.collections.asr.modules.ConvASRDecoder", feat_in=None, num_classes=-1, vocabulary=[]
        ),
        decoding=dict(strategy="greedy"),
        ctc_reduction="mean_batch",
        optim=dict(name="adamw", lr=1e-3),
    )


def renamed(weights, layers):
    """(NeMo's name, tensor) for every weight but those of the training heads."""
    both = ("weight", "bias")
    for ours, theirs in enumerate((0, 2, 3, 5, 6)):
        for s in both:
            yield f"encoder.pre_encode.conv.{theirs}.{s}", weights[f"c.{ours}.{s}"]
    for s in both:
        yield f"encoder.pre_encode.out.{s}", weights[f"out.{s}"]
        yield f"decoder.decoder_layers.0.{s}", weights[f"h.{s}"]
    plain = {
        "ln": "norm_self_att", "o": "self_attn.linear_out", "lnc": "norm_conv", "p1": "conv.pointwise_conv1",
        "dw": "conv.depthwise_conv", "lnd": "conv.batch_norm", "p2": "conv.pointwise_conv2", "lo": "norm_out",
        "f1.0": "norm_feed_forward1", "f1.1": "feed_forward1.linear1", "f1.4": "feed_forward1.linear2",
        "f2.0": "norm_feed_forward2", "f2.1": "feed_forward2.linear1", "f2.4": "feed_forward2.linear2",
    }
    for layer in range(layers):
        there, here = f"encoder.layers.{layer}.", f"b.{layer}."
        for s in both:
            for ours, theirs in plain.items():
                yield f"{there}{theirs}.{s}", weights[f"{here}{ours}.{s}"]
            for name, part in zip("qkv", weights[f"{here}qkv.{s}"].chunk(3)):
                yield f"{there}self_attn.linear_{name}.{s}", part
        yield f"{there}self_attn.linear_pos.weight", weights[f"{here}p.weight"]
        yield f"{there}self_attn.pos_bias_u", weights[f"{here}u"]
        yield f"{there}self_attn.pos_bias_v", weights[f"{here}v"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="model.pt of train.py")
    parser.add_argument("--bpe", required=True, help="prefix of bpe.model and bpe.vocab")
    parser.add_argument("--out", required=True)
    parser.add_argument("--check", nargs="*", default=[], help="16 kHz recordings")
    args = parser.parse_args()
    from nemo.collections.asr.models import EncDecCTCModelBPE
    from omegaconf import OmegaConf

    saved = torch.load(args.model, map_location="cpu")
    config, weights = Config(**saved["config"]), {k: v.float() for k, v in saved["weights"].items()}
    pieces = sentencepiece.SentencePieceProcessor(model_file=args.bpe + ".model")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(args.bpe + ".model", os.path.join(folder, "tokenizer.model"))
        shutil.copy(args.bpe + ".vocab", os.path.join(folder, "tokenizer.vocab"))
        with open(os.path.join(folder, "vocab.txt"), "w", encoding="utf-8") as f:
            f.write("\n".join(pieces.id_to_piece(i) for i in range(1, pieces.vocab_size())))
        nemo = EncDecCTCModelBPE(cfg=OmegaConf.create(nemo_config(config, folder)))
        state = dict(nemo.state_dict())
        for name, value in renamed(weights, config.layers):
            state[name] = value.reshape(state[name].shape).clone()
        nemo.load_state_dict(state)
        nemo.eval()
        nemo.save_to(args.out)
    largest = max(float(v.abs().max()) for v in weights.values())
    print(f"{args.out}: largest weight {largest:.2f} (half precision holds 65504)")
    if not args.check:
        return
    import soundfile

    nemo = EncDecCTCModelBPE.restore_from(args.out, map_location="cpu").eval()
    model = Model(config).eval()
    model.load_state_dict(weights)
    features = Augment("cpu", warps=1)
    for path in args.check:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
        if rate != 16000:
            raise SystemExit(f"{path}: {rate} Hz, 16000 needed")
        x = torch.from_numpy(audio.mean(1))[None]
        with torch.no_grad():
            theirs = nemo(input_signal=x, input_signal_length=torch.tensor([x.shape[1]]))[0][0]
            ours = model(features.mel(x)[:, : x.shape[1] // 160], 6)[0]
        words = [" ".join(greedy(v, pieces)) for v in (theirs, ours)]
        print(f"{os.path.basename(path)}: {words[0]}")
        if words[0] != words[1]:
            raise SystemExit(f"{path}: NeMo gives other words than this recipe: {words}")


if __name__ == "__main__":
    main()
