//! The order of a conformer block, written once for every backend.
//!
//! Source: Gulati et al. 2020, "Conformer", in the macaron form; FastConformer keeps it. With the residual stream `x`:
//! `x += 0.5 FF1(x)`, `x += MHA(x)`, `x += Conv(x)`, `x += 0.5 FF2(x)`, `x = LN(x)`; every module normalizes its own input.
//! Who implements [`Block`]: `model::encoder` over the processor's operations, `model::device` over kernel launches.

/// Which of a block's two feed-forward modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    First,
    Second,
}

/// The modules of one block over the rows of one step.
pub(super) trait Block {
    type Error;

    /// `x += 0.5 * contract(silu(expand(norm(x))))`.
    fn feed_forward(&mut self, half: Half) -> Result<(), Self::Error>;

    /// `x += out(attention(norm(x)))`, over the new rows and what the stream remembers.
    fn attention(&mut self) -> Result<(), Self::Error>;

    /// `x += out(conv(gate(in(norm(x)))))`, over the new rows and what the stream remembers.
    fn convolution(&mut self) -> Result<(), Self::Error>;

    /// `x = norm(x)`.
    fn norm(&mut self) -> Result<(), Self::Error>;
}

/// Runs a block.
pub(super) fn block<B: Block>(block: &mut B) -> Result<(), B::Error> {
    block.feed_forward(Half::First)?;
    block.attention()?;
    block.convolution()?;
    block.feed_forward(Half::Second)?;
    block.norm()
}
