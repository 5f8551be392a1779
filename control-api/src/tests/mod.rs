//! The API as its clients meet it.

mod access;
mod admin;
mod catalog;
mod channels;
mod document;
mod events;
mod identities;
mod rejections;
mod strangers;
mod usage;
