//! What is queued leaves once, in order, whoever writes it.

use std::thread;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::frame::Decoder;
use crate::link::Budget;

const SENDERS: u64 = 8;
const EACH: u64 = 60;
const SMALL_BUFFER: u32 = 8 << 10;

/// Two ends of a socket that takes little at a time.
async fn narrow() -> (TcpStream, TcpStream) {
    let listener = TcpSocket::new_v4().unwrap();
    listener.set_recv_buffer_size(SMALL_BUFFER).unwrap();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener: TcpListener = listener.listen(1).unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(SMALL_BUFFER).unwrap();
    let ours = socket.connect(listener.local_addr().unwrap()).await.unwrap();
    (ours, listener.accept().await.unwrap().0)
}

struct Ours {
    outlet: Arc<Outlet>,
    closing: CancellationToken,
    written: JoinHandle<io::Result<()>>,
    _input: tokio::net::tcp::OwnedReadHalf,
}

fn start(socket: TcpStream) -> Ours {
    let (input, output) = socket.into_split();
    let (outlet, writer) = open(Output::Plain(output));
    let closing = CancellationToken::new();
    Ours { outlet, closing: closing.clone(), written: tokio::spawn(writer.run(closing)), _input: input }
}

/// Reads frames to the end of the stream.
async fn all(mut socket: TcpStream) -> Vec<Frame> {
    let mut decoder = Decoder::new(Coverage::WithoutBulk);
    let mut frames = Vec::new();
    while socket.read_buf(&mut decoder.room()).await.unwrap() > 0 {
        while let Some(frame) = decoder.next().unwrap() {
            frames.push(frame);
        }
    }
    assert!(decoder.is_between_frames(), "the last frame is whole");
    frames
}

/// A frame whose bulk says whose it is; every fourth is far larger than what the socket takes.
fn frame(sender: u64, number: u64) -> Frame {
    let length = if number.is_multiple_of(4) { 300_000 } else { 30 };
    let byte = u8::try_from((sender * 31 + number) % 251).unwrap();
    let body = Bytes::from(sender.to_le_bytes().to_vec());
    Frame { kind: Kind::Notice, id: number, body, bulk: Bytes::from(vec![byte; length]) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_many_threads_arrive_whole_and_in_order_through_a_narrow_socket() {
    let (ours, theirs) = narrow().await;
    let reading = tokio::spawn(all(theirs));
    let ours = start(ours);
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let outlet = Arc::clone(&ours.outlet);
            thread::spawn(move || (0..EACH).for_each(|number| outlet.send(frame(sender, number).into())))
        })
        .collect();
    tokio::task::spawn_blocking(move || senders.into_iter().for_each(|sender| sender.join().unwrap()))
        .await
        .unwrap();
    ours.closing.cancel();
    let mut frames = reading.await.unwrap();
    assert_eq!(frames.pop().map(|frame| frame.kind), Some(Kind::Bye));
    for sender in 0..SENDERS {
        let own = frames.iter().filter(|frame| frame.body[..] == sender.to_le_bytes());
        assert!(own.cloned().eq((0..EACH).map(|number| frame(sender, number))), "sender {sender}");
    }
    ours.written.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_while_a_frame_is_half_written_sends_the_rest_and_says_goodbye() {
    let (ours, theirs) = narrow().await;
    let ours = start(ours);
    (0..9).for_each(|number| ours.outlet.send(frame(0, number).into()));
    // Nobody has read yet: the first frame cannot be through.
    ours.closing.cancel();
    let reading = tokio::spawn(all(theirs));
    ours.written.await.unwrap().unwrap();
    ours.outlet.send(frame(0, 99).into());
    let frames = reading.await.unwrap();
    assert_eq!(frames.len(), 10, "all that was queued before, and a goodbye");
    assert_eq!(frames[9].kind, Kind::Bye);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_before_a_peer_that_does_not_read_ends_and_gives_back_what_was_charged() {
    let (ours, theirs) = narrow().await;
    let ours = start(ours);
    let budget = Arc::new(Budget::default());
    for number in 0..40 {
        ours.outlet.send(Outgoing::charged(frame(0, number * 4), Some(budget.charge(1))));
    }
    assert!(!budget.is_below(30), "the socket is narrow");
    ours.closing.cancel();
    let error = ours.written.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    ours.outlet.send(Outgoing::charged(frame(0, 1), Some(budget.charge(1))));
    assert!(budget.is_below(1), "nothing is held any more");
    drop(theirs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_gone_ends_the_writer_with_the_reason() {
    let (ours, theirs) = narrow().await;
    let ours = start(ours);
    drop(theirs);
    let sending = Arc::clone(&ours.outlet);
    let sender = tokio::spawn(async move {
        loop {
            sending.send(frame(0, 0).into());
            tokio::task::yield_now().await;
        }
    });
    let error = ours.written.await.unwrap().unwrap_err();
    sender.abort();
    assert!(matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{error}");
}

#[tokio::test]
async fn what_is_gathered_leaves_with_the_release() {
    let (ours, mut theirs) = narrow().await;
    let ours = start(ours);
    ours.outlet.gather();
    (1..4).for_each(|number| ours.outlet.send(frame(0, number).into()));
    let mut byte = [0];
    let early = timeout(Duration::from_millis(50), theirs.read(&mut byte)).await;
    assert!(early.is_err(), "a frame left early");
    ours.outlet.release();
    let reading = tokio::spawn(all(theirs));
    ours.closing.cancel();
    assert_eq!(reading.await.unwrap().len(), 4);
}
