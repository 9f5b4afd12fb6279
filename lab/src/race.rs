//! Two futures at once, without tokio's macros: they would be one more package in everybody's lock file.

use std::pin::pin;
use std::task::Poll;

/// Which of two futures ended first.
#[derive(Debug, PartialEq, Eq)]
pub enum First<A, B> {
    /// The first one, with its value.
    Left(A),
    /// The second one, with its value.
    Right(B),
}

/// Waits for whichever future ends first and drops the other. The left one is asked first.
pub async fn first<A: Future, B: Future>(left: A, right: B) -> First<A::Output, B::Output> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    std::future::poll_fn(move |cx| {
        if let Poll::Ready(value) = left.as_mut().poll(cx) {
            return Poll::Ready(First::Left(value));
        }
        right.as_mut().poll(cx).map(First::Right)
    })
    .await
}
