//! The examples of the repository's documents are tests.

#[doc = include_str!("../../../README.md")]
struct Readme;

#[doc = include_str!("../../../README.ru.md")]
struct ReadmeInRussian;

#[cfg(feature = "axum")]
#[doc = include_str!("../../../docs/guide/axum-and-hyper.md")]
struct AxumAndHyper;

#[doc = include_str!("../../../docs/guide/back-pressure.md")]
struct BackPressure;

#[doc = include_str!("../../../docs/guide/chat.md")]
struct Chat;

#[doc = include_str!("../../../docs/guide/closing.md")]
struct Closing;

#[doc = include_str!("../../../docs/guide/compression.md")]
struct Compression;

#[cfg(feature = "tls")]
#[doc = include_str!("../../../docs/guide/connecting.md")]
struct Connecting;

#[doc = include_str!("../../../docs/guide/memory-and-limits.md")]
struct MemoryAndLimits;

#[doc = include_str!("../../../docs/guide/security.md")]
struct Security;

#[doc = include_str!("../../../docs/guide/sending-and-receiving.md")]
struct SendingAndReceiving;

#[doc = include_str!("../../../docs/guide/testing.md")]
struct Testing;
