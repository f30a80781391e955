//! G.711 mu-law and A-law to linear samples, by table.
//!
//! What it does: one table of 256 values per law, computed at compile time. What it does not do: encode.
//! Who calls it: [`super::pcm`]. Source: ITU-T G.711 (11/88), tables 1 and 2.
#![allow(clippy::indexing_slicing, clippy::as_conversions, reason = "constant tables indexed by a byte")]

/// Linear value, on the 16-bit scale, of each mu-law code.
pub static MULAW: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = mulaw(code as u8);
        code += 1;
    }
    table
};
/// Linear value, on the 16-bit scale, of each A-law code.
pub static ALAW: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = alaw(code as u8);
        code += 1;
    }
    table
};

/// All bits are inverted on the line: sign, three bits of segment, four bits of step.
const fn mulaw(code: u8) -> i16 {
    let code = !code;
    let magnitude = ((((code & 0x0f) as i16) << 3) + 0x84) << ((code & 0x70) >> 4);
    if code & 0x80 != 0 { 0x84 - magnitude } else { magnitude - 0x84 }
}

/// Even bits are inverted on the line; the sign bit is set for positive values.
const fn alaw(code: u8) -> i16 {
    let code = code ^ 0x55;
    let step = ((code & 0x0f) as i16) << 4;
    let magnitude = match (code & 0x70) >> 4 {
        0 => step + 8,
        segment => (step + 0x108) << (segment - 1),
    };
    if code & 0x80 != 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests {
    use super::*;

    /// The standard's own arithmetic, on its 14-bit (mu-law) and 13-bit (A-law) scales: the decoder output for segment `s` and
    /// step `q` is `(2q + 33) 2^s - 33` for mu-law, and `2q + 1` or `(2q + 33) 2^(s-1)` for A-law.
    #[test]
    fn all_codes_equal_the_formula_of_the_standard() {
        for code in 0..=255_u8 {
            let (s, q) = (u32::from((!code & 0x70) >> 4), f64::from(!code & 0x0f));
            let sign = if code & 0x80 == 0 { -1.0 } else { 1.0 };
            let mu = sign * ((2.0 * q + 33.0) * 2_f64.powi(s as i32) - 33.0);
            assert_eq!(f64::from(MULAW[usize::from(code)]), 4.0 * mu, "mu-law {code:#x}");

            let line = code ^ 0x55;
            let (s, q) = (i32::from((line & 0x70) >> 4), f64::from(line & 0x0f));
            let sign = if code & 0x80 == 0 { -1.0 } else { 1.0 };
            let a = if s == 0 {
                2.0 * q + 1.0
            } else {
                (2.0 * q + 33.0) * 2_f64.powi(s - 1)
            };
            assert_eq!(f64::from(ALAW[usize::from(code)]), 8.0 * sign * a, "a-law {code:#x}");
        }
    }

    /// Published values of both tables: zero, smallest and largest of each sign.
    #[test]
    fn known_codes() {
        for (code, value) in [
            (0xff, 0),
            (0x7f, 0),
            (0x80, 32124),
            (0x00, -32124),
            (0xfe, 8),
            (0x7e, -8),
            (0xf0, 120),
            (0xef, 132),
        ] {
            assert_eq!(MULAW[code], value, "mu-law {code:#x}");
        }
        for (code, value) in [(0xd5, 8), (0x55, -8), (0xaa, 32256), (0x2a, -32256), (0xd4, 24), (0xc5, 264)] {
            assert_eq!(ALAW[code], value, "a-law {code:#x}");
        }
    }
}
