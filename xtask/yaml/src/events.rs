//! A safe stream of libyaml events with their positions; all `unsafe` code is here.
//!
//! libyaml is used directly because Omni's programs read YAML with go.yaml.in/yaml, a port of the same C library, so that both
//! accept the same files. It adds no dependency, because yaml_serde uses the same crate. yaml_serde does not expose the
//! positions, and every finding needs a line and a column.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{NonNull, addr_of_mut};
use std::slice;

use libyaml_rs as sys;

use super::Style;
use crate::Position;

/// An event of the stream, copied out of the C structures.
pub(super) enum Event {
    StreamStart,
    StreamEnd,
    /// With the version in a `%YAML` directive.
    DocumentStart(Option<(i32, i32)>),
    DocumentEnd,
    Alias(String),
    Scalar {
        anchor: Option<String>,
        tag: Option<String>,
        value: String,
        style: Style,
    },
    SequenceStart {
        anchor: Option<String>,
        tag: Option<String>,
    },
    SequenceEnd,
    MappingStart {
        anchor: Option<String>,
        tag: Option<String>,
    },
    MappingEnd,
}

/// A libyaml error.
pub(super) struct Fault {
    pub message: String,
    /// `None` if libyaml reports only the byte (a character that YAML forbids).
    pub at: Option<Position>,
    /// 0-based byte offset in the input.
    pub offset: usize,
}

/// A parser over bytes that outlive it. libyaml must not be called again after an error or the end of the stream: it would return
/// the same event indefinitely.
pub(super) struct Events<'a> {
    // Boxed because libyaml keeps pointers into its own structure.
    parser: Box<MaybeUninit<sys::yaml_parser_t>>,
    input: PhantomData<&'a str>,
    done: bool,
}

impl<'a> Events<'a> {
    pub(super) fn new(input: &'a str) -> Events<'a> {
        let mut parser = Box::new(MaybeUninit::<sys::yaml_parser_t>::uninit());
        let raw = parser.as_mut_ptr();
        // SAFETY: `raw` is valid for writes; initialize only writes it, and its only failure, running out of memory,
        // aborts the process. The input outlives the parser by 'a, and libyaml never writes to it.
        unsafe {
            let _ = sys::yaml_parser_initialize(raw);
            sys::yaml_parser_set_encoding(raw, sys::YAML_UTF8_ENCODING);
            sys::yaml_parser_set_input_string(raw, input.as_ptr(), input.len() as u64);
        }
        Events { parser, input: PhantomData, done: false }
    }

    /// Returns the next event and the position where it starts.
    pub(super) fn next(&mut self) -> Result<(Event, Position), Fault> {
        if self.done {
            return Ok((Event::StreamEnd, Position::START));
        }
        let mut slot = MaybeUninit::<sys::yaml_event_t>::uninit();
        // SAFETY: the parser was initialized in `new`; parse fills the event on success and only then is it read and
        // deleted, exactly once. The pointers in it are valid until it is deleted.
        unsafe {
            let raw = self.parser.as_mut_ptr();
            if sys::yaml_parser_parse(raw, slot.as_mut_ptr()).fail {
                self.done = true;
                return Err(fault(&*raw));
            }
            let event = slot.assume_init_mut();
            let at = at(event.start_mark);
            let owned = convert(event);
            sys::yaml_event_delete(addr_of_mut!(*event));
            self.done = matches!(owned, Event::StreamEnd);
            Ok((owned, at))
        }
    }
}

impl Drop for Events<'_> {
    fn drop(&mut self) {
        // SAFETY: initialized in `new`, deleted only here.
        unsafe { sys::yaml_parser_delete(self.parser.as_mut_ptr()) }
    }
}

fn at(mark: sys::yaml_mark_t) -> Position {
    Position { line: small(mark.line).saturating_add(1), column: small(mark.column).saturating_add(1) }
}

fn small(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// SAFETY: `event` must have been filled by libyaml and not yet deleted.
unsafe fn convert(event: &sys::yaml_event_t) -> Event {
    // SAFETY: the union field read is the one that `type_` names; strings are null or NUL-terminated.
    unsafe {
        match event.type_ {
            sys::YAML_STREAM_START_EVENT => Event::StreamStart,
            sys::YAML_DOCUMENT_START_EVENT => {
                let version = NonNull::new(event.data.document_start.version_directive);
                Event::DocumentStart(version.map(|v| (v.as_ref().major, v.as_ref().minor)))
            }
            sys::YAML_DOCUMENT_END_EVENT => Event::DocumentEnd,
            sys::YAML_ALIAS_EVENT => Event::Alias(text(event.data.alias.anchor).unwrap_or_default()),
            sys::YAML_SCALAR_EVENT => {
                let s = &event.data.scalar;
                let bytes = slice::from_raw_parts(s.value, s.length as usize);
                let style = match s.style {
                    sys::YAML_SINGLE_QUOTED_SCALAR_STYLE | sys::YAML_DOUBLE_QUOTED_SCALAR_STYLE => Style::Quoted,
                    sys::YAML_LITERAL_SCALAR_STYLE => Style::Literal,
                    sys::YAML_FOLDED_SCALAR_STYLE => Style::Folded,
                    _ => Style::Plain,
                };
                let value = String::from_utf8_lossy(bytes).into_owned();
                Event::Scalar { anchor: text(s.anchor), tag: text(s.tag), value, style }
            }
            sys::YAML_SEQUENCE_START_EVENT => {
                let s = &event.data.sequence_start;
                Event::SequenceStart { anchor: text(s.anchor), tag: text(s.tag) }
            }
            sys::YAML_SEQUENCE_END_EVENT => Event::SequenceEnd,
            sys::YAML_MAPPING_START_EVENT => {
                let s = &event.data.mapping_start;
                Event::MappingStart { anchor: text(s.anchor), tag: text(s.tag) }
            }
            sys::YAML_MAPPING_END_EVENT => Event::MappingEnd,
            _ => Event::StreamEnd,
        }
    }
}

/// SAFETY: `s` is null or points to a NUL-terminated string.
unsafe fn text<T>(s: *const T) -> Option<String> {
    let s = NonNull::new(s.cast_mut().cast::<std::ffi::c_char>())?;
    // SAFETY: not null, and NUL-terminated as the caller guarantees.
    let c = unsafe { std::ffi::CStr::from_ptr(s.as_ptr()) };
    Some(c.to_string_lossy().into_owned())
}

/// SAFETY: the parser must be initialized.
unsafe fn fault(parser: &sys::yaml_parser_t) -> Fault {
    // SAFETY: problem and context are null or static NUL-terminated strings of libyaml.
    let (problem, context) = unsafe { (text(parser.problem), text(parser.context)) };
    let mut message = problem.unwrap_or_else(|| "the document cannot be read".to_owned());
    if let Some(context) = context {
        let started = at(parser.context_mark);
        message = format!("{message}, {context} that starts at line {}", started.line);
    }
    let by_byte = parser.error == sys::YAML_READER_ERROR;
    Fault { message, at: (!by_byte).then(|| at(parser.problem_mark)), offset: parser.problem_offset as usize }
}
