//! The only way words leave the program: results to standard output, everything else to standard error.
//!
//! Decides colour once: none for `-no-color`, `NO_COLOR`, `TERM=dumb` or a pipe.
//! Invariant: a reader that went away (`| head`) ends the output, never the work.

use std::io::{self, BufRead, IsTerminal, Write};

use anstyle::Style;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Standard output and standard error, with what is known of them.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    out_colour: bool,
    err_colour: bool,
    live: bool,
}

impl Terminal {
    /// Looks at the process's streams; `no_color` is the flag.
    pub fn new(no_color: bool) -> Self {
        let plain = no_color
            || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self { out_colour: out && !plain, err_colour: err && !plain, live: err }
    }

    /// Tells whether results may be coloured.
    pub fn out_colour(self) -> bool {
        self.out_colour
    }

    /// Tells whether what goes beside the results may be coloured.
    pub fn err_colour(self) -> bool {
        self.err_colour
    }

    /// Tells whether somebody watches, so that bars may move.
    pub fn is_live(self) -> bool {
        self.live
    }

    /// Prints a line, or several, of a result.
    pub fn say(self, text: &str) {
        let _reader_gone = writeln!(io::stdout().lock(), "{text}");
    }

    /// Prints a result exactly as it is.
    pub fn say_raw(self, text: &str) {
        let mut out = io::stdout().lock();
        let _reader_gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Prints a line, or several, beside the results.
    pub fn tell(self, text: &str) {
        let _reader_gone = writeln!(io::stderr().lock(), "{text}");
    }

    /// Like [`Terminal::ask`], and does not show what is typed.
    pub fn ask_secret(self, question: &str) -> io::Result<Option<String>> {
        let _hidden = Hidden::begin()?;
        self.ask(question)
    }

    /// Asks, and reads one line; `None` at the end of the input.
    pub fn ask(self, question: &str) -> io::Result<Option<String>> {
        let mut err = io::stderr().lock();
        write!(err, "{question}")?;
        err.flush()?;
        let mut line = String::new();
        let count = io::stdin().lock().read_line(&mut line)?;
        Ok((count > 0).then(|| line.trim().to_owned()))
    }
}

/// Standard input without echo, for as long as it is kept. Ended by a signal, the shell sets its terminal right.
struct Hidden(Termios);

impl Hidden {
    /// Stops the echo, where standard input is a terminal.
    fn begin() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        // The end of the line is shown, so that what comes next begins on another one.
        quiet.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(&stdin, OptionalActions::Flush, &quiet)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _terminal_gone = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Returns the text in a style, or as it is without colour.
pub fn paint(colour: bool, style: Style, text: &str) -> String {
    if colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
}
