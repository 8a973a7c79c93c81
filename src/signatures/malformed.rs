//! Every way in which a body can fail to be read, before any key is looked at.
//!
//! The offsets are for an operator's log. A client is told no more than the code.

/// Why a text has no canonical form, or holds no message that can be told for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes are not UTF-8, which RFC 8259 demands between systems.
    #[error("is not UTF-8 from byte {at}")]
    NotUtf8 {
        /// Offset of the first wrong byte.
        at: usize,
    },
    /// Not JSON as RFC 8259 has it; an end that came too early counts, and so does text after the end.
    #[error("is not JSON at byte {at}")]
    Syntax {
        /// Where reading stopped.
        at: usize,
    },
    /// Objects and arrays nested too deep.
    #[error("is nested deeper than {} levels at byte {at}", super::scan::MAX_DEPTH)]
    TooDeep {
        /// Where the level too many begins.
        at: usize,
    },
    /// More messages in one body than are looked at.
    #[error("holds more than {max} messages")]
    TooMany {
        /// Most messages that are read.
        max: usize,
    },
    /// One object names a member twice: readers differ in which of the two they take.
    #[error("names a member twice in the object that ends before byte {at}")]
    RepeatedName {
        /// Just behind the second value, or behind the object.
        at: usize,
    },
    /// A top-level `__proto__`: signers in ECMAScript leave it out of what they sign.
    #[error("has a member __proto__ at its top level")]
    Prototype,
    /// A number that no double can hold.
    #[error("has a number outside the range of a double at byte {at}")]
    NumberRange {
        /// Where the number begins.
        at: usize,
    },
    /// A string with half a character in it, which RFC 8785 has no text for.
    #[error("has half a character in a string at byte {at}")]
    HalfCharacter {
        /// Where the escape begins.
        at: usize,
    },
    /// A message must be an object.
    #[error("is not an object")]
    NotAnObject,
    /// Two sound readings of the envelope lead to two different messages.
    #[error("is an envelope that can be read in more than one way")]
    Ambiguous,
    /// A field that a signature needs stands twice, is not text, or has not the form that it must have.
    #[error("has a field for its signature that is repeated or has not its form")]
    Field,
    /// A time that is not digits alone, or cannot be told from the body.
    #[error("has a time that is not a number of seconds")]
    Moment,
    /// A part of the request that the scheme's signature does not cover, or could cover in two ways.
    #[error("has a body that its signature does not cover")]
    Uncovered,
    /// The envelope's text is no text that JSON could be in.
    #[error("is an envelope whose text is not JSON")]
    InnerText,
}
