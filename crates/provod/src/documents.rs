//! The examples of the repository's documents are tests.

#[doc = include_str!("../../../README.md")]
struct Readme;

#[doc = include_str!("../../../README.ru.md")]
struct ReadmeInRussian;

#[doc = include_str!("../../../docs/guide/chat.md")]
struct Chat;
