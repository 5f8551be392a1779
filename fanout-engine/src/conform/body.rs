//! The bytes of a payload, unpacked and bounded.

use std::io::{self, BufRead, BufReader, Read};

/// zstd asks for this much memory at most: 2^27 bytes, what its own command line allows.
const MAX_ZSTD_WINDOW: u32 = 27;

/// A payload unpacked, as a stream.
pub type Unpacked = Box<dyn BufRead + Send>;

/// Why a payload cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is larger than the channel's size allows, once unpacked.
    #[error("the payload exceeds {limit} bytes once unpacked")]
    TooLarge {
        /// Bytes.
        limit: u64,
    },
    /// It is not what its content encoding says.
    #[error("the payload is not valid {encoding}: {reason}")]
    Corrupt {
        /// The content encoding.
        encoding: String,
        /// What the decoder said.
        reason: String,
    },
    /// Nobody here knows the content encoding.
    #[error("the content encoding {0:?} is unknown; gzip and zstd are known")]
    UnknownEncoding(String),
    /// The payload itself could not be read.
    #[error("failed to read a landed payload: {0}")]
    Io(#[from] io::Error),
}

/// Unpacks a payload. A packed one is unpacked twice: first only counted, so that neither a bomb
/// nor a broken end lets a part of it become records. One that is not packed was measured when it
/// was landed, and keeps the right it had then if the channel has become smaller since.
///
/// # Errors
/// See [`BodyError`]; nothing has been handed out then.
pub fn unpack(
    open: &dyn Fn() -> io::Result<Box<dyn Read + Send>>,
    encoding: Option<&str>,
    limit: u64,
) -> Result<Unpacked, BodyError> {
    let encoding = encoding.map(|encoding| encoding.trim().to_ascii_lowercase()).unwrap_or_default();
    if matches!(encoding.as_str(), "" | "identity") {
        return Ok(Box::new(BufReader::with_capacity(64 << 10, open()?)));
    }
    let counted = io::copy(&mut decoder(&encoding, open()?)?.take(limit.saturating_add(1)), &mut io::sink());
    match counted {
        Ok(bytes) if bytes > limit => Err(BodyError::TooLarge { limit }),
        Ok(_) => Ok(Box::new(BufReader::with_capacity(64 << 10, decoder(&encoding, open()?)?))),
        // The decoders say these; a disk says others.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::Other
            ) =>
        {
            Err(BodyError::Corrupt { encoding, reason: error.to_string() })
        }
        Err(error) => Err(error.into()),
    }
}

fn decoder(encoding: &str, packed: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>, BodyError> {
    match encoding {
        "gzip" | "x-gzip" => Ok(Box::new(flate2::read::MultiGzDecoder::new(packed))),
        "zstd" => {
            let mut decoder = zstd::stream::read::Decoder::new(packed)?;
            decoder.window_log_max(MAX_ZSTD_WINDOW)?;
            Ok(Box::new(decoder))
        }
        other => Err(BodyError::UnknownEncoding(other.to_owned())),
    }
}
