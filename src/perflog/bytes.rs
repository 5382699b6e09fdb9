//! Bytes of a file as text and back. Invariant: `encode(decode(bytes)) == bytes`, whatever the bytes are.
//!
//! A log may hold bytes that are not UTF-8 (a pasted terminal, an old editor). Each such byte becomes one character
//! of a private range, so that the text can be searched and spliced like any other; characters of that range which
//! the file itself has are taken for bytes that are not UTF-8, too.

/// Character of byte 0x00; those of 0x80 to 0xff lie at U+10FF80 to U+10FFFF.
const BASE: u32 = 0x10_ff00;

/// The file as text.
pub fn decode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if byte_of(character).is_some() {
                character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| text.push(character_of(byte)));
            } else {
                text.push(character);
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push(character_of(*byte)));
    }
    text
}

/// The bytes that [`decode`] was given, where nothing was changed.
pub fn encode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match byte_of(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

fn byte_of(character: char) -> Option<u8> {
    u8::try_from(u32::from(character).checked_sub(BASE)?).ok().filter(|byte| *byte >= 0x80)
}

/// Bytes that are not UTF-8, and those of characters beyond U+FFFF, are all 0x80 or more.
fn character_of(byte: u8) -> char {
    char::from_u32(BASE + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back_those_that_are_no_utf_8_too() {
        let all: Vec<u8> = (0..=255).chain("a\u{10ff85}µ\u{10ffff}".bytes()).chain([0xf4, 0x8f, 0xbe]).collect();
        assert_eq!(encode(&decode(&all)), all);
        assert_eq!(decode(b"a\xff\xc3\xa9"), "a\u{10ffff}é");
        assert_eq!(decode("plain ±µ".as_bytes()), "plain ±µ");
    }
}
