//! Colours of pictures by hue, and the colour of text on them. Invariant: text has a contrast of at least 4.5 to the
//! colour that it stands on (WCAG 2.1, 1.4.3), whatever that is.

use std::fmt;

/// Hue in degrees, saturation and lightness in percent, as CSS has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour {
    pub hue: u32,
    pub saturation: u32,
    pub lightness: u32,
}

impl Colour {
    /// Black or white, whichever has the greater contrast.
    pub fn text(self) -> &'static str {
        // The two contrasts are equal where (L + 0.05)^2 = 1.05 * 0.05.
        if self.luminance() > 0.179 { "#000" } else { "#fff" }
    }

    /// WCAG 2.1, relative luminance.
    fn luminance(self) -> f64 {
        let linear = |part: f64| if part <= 0.03928 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) };
        let [red, green, blue] = self.parts().map(linear);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// Red, green and blue, 0..1 (CSS Color Module Level 4, 7.1).
    fn parts(self) -> [f64; 3] {
        let (saturation, lightness) = (f64::from(self.saturation) / 100.0, f64::from(self.lightness) / 100.0);
        let reach = saturation * lightness.min(1.0 - lightness);
        [0.0, 8.0, 4.0].map(|offset| {
            let k = (offset + f64::from(self.hue) / 30.0) % 12.0;
            lightness - reach * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0)
        })
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hsl({},{}%,{}%)", self.hue, self.saturation, self.lightness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_legible_on_every_colour() {
        for hue in (0..360).step_by(5) {
            for lightness in (0..=100).step_by(5) {
                let colour = Colour { hue, saturation: 90, lightness };
                let own = colour.luminance() + 0.05;
                let contrast = if colour.text() == "#000" { own / 0.05 } else { 1.05 / own };
                assert!(contrast >= 4.5, "{colour}: {contrast}");
            }
        }
        let orange = Colour { hue: 38, saturation: 90, lightness: 55 };
        assert_eq!(orange.text(), "#000");
        let [red, green, blue] = Colour { hue: 120, saturation: 100, lightness: 50 }.parts();
        assert_eq!((red, green, blue), (0.0, 1.0, 0.0));
    }
}
