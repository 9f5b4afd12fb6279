//! Regular expressions of RE2's syntax as Go reads them, for `matches()`: no backtracking, so no expression is slow.
//! Own code because the regex crate would cost a tenth of the runner's build for a function that few selectors use.

mod class;
mod parse;
mod unicode;

use class::Class;

/// Longer programs are refused; Go's own limit is higher, and no pattern over a storage's name comes near to this.
const MAX_PROGRAM: usize = 20_000;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct Regex {
    program: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    One(Class),
    /// Go on at both, the first one first.
    Split(usize, usize),
    Jump(usize),
    Assert(Assertion),
    Match,
}

/// What holds at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Assertion {
    TextStart,
    TextEnd,
    LineStart,
    LineEnd,
    WordBoundary,
    NoWordBoundary,
}

/// The syntax tree.
#[derive(Debug, Clone)]
enum Node {
    Empty,
    One(Class),
    Assert(Assertion),
    Concat(Vec<Node>),
    Alternate(Vec<Node>),
    Repeat { node: Box<Node>, least: u32, most: Option<u32> },
}

impl Regex {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// Go's message: "error parsing regexp: …".
    pub(super) fn new(pattern: &str) -> Result<Regex, String> {
        let tree = parse::parse(pattern).map_err(|e| format!("error parsing regexp: {e}"))?;
        let mut regex = Regex { program: Vec::new() };
        regex.emit(&tree)?;
        regex.push(Step::Match)?;
        Ok(regex)
    }

    fn push(&mut self, step: Step) -> Result<usize, String> {
        if self.program.len() >= MAX_PROGRAM {
            return Err("error parsing regexp: expression too large".to_owned());
        }
        self.program.push(step);
        Ok(self.program.len() - 1)
    }

    fn emit(&mut self, node: &Node) -> Result<(), String> {
        match node {
            Node::Empty => {}
            Node::One(class) => {
                let mut class = class.clone();
                class.freeze();
                self.push(Step::One(class))?;
            }
            Node::Assert(a) => drop(self.push(Step::Assert(*a))?),
            Node::Concat(nodes) => nodes.iter().try_for_each(|n| self.emit(n))?,
            Node::Alternate(nodes) => {
                let mut jumps = Vec::new();
                for (n, node) in nodes.iter().enumerate() {
                    if n + 1 == nodes.len() {
                        self.emit(node)?;
                        break;
                    }
                    let split = self.push(Step::Split(0, 0))?;
                    self.emit(node)?;
                    jumps.push(self.push(Step::Jump(0))?);
                    self.program[split] = Step::Split(split + 1, self.program.len());
                }
                let end = self.program.len();
                jumps.iter().for_each(|j| self.program[*j] = Step::Jump(end));
            }
            Node::Repeat { node, least, most } => {
                for _ in 0..*least {
                    self.emit(node)?;
                }
                match most {
                    None => {
                        let split = self.push(Step::Split(0, 0))?;
                        self.emit(node)?;
                        self.push(Step::Jump(split))?;
                        self.program[split] = Step::Split(split + 1, self.program.len());
                    }
                    Some(most) => {
                        let mut splits = Vec::new();
                        for _ in *least..*most {
                            splits.push(self.push(Step::Split(0, 0))?);
                            self.emit(node)?;
                        }
                        let end = self.program.len();
                        splits.iter().for_each(|s| self.program[*s] = Step::Split(s + 1, end));
                    }
                }
            }
        }
        Ok(())
    }

    /// True if the pattern matches anywhere in the text.
    pub(super) fn is_match(&self, text: &str) -> bool {
        let anchored = matches!(self.program[0], Step::Assert(Assertion::TextStart));
        let (mut now, mut next) = (Threads::new(self.program.len()), Threads::new(self.program.len()));
        let (mut before, mut chars) = (None, text.chars());
        loop {
            let here = chars.next();
            // A match may start anywhere, unless the pattern says otherwise.
            if !(anchored && before.is_some()) && self.add(&mut now, 0, (before, here)) {
                return true;
            }
            let Some(c) = here else { return false };
            let after = chars.clone().next();
            for n in 0..now.list.len() {
                let pc = now.list[n];
                if let Step::One(class) = &self.program[pc]
                    && class.contains(c)
                    && self.add(&mut next, pc + 1, (here, after))
                {
                    return true;
                }
            }
            std::mem::swap(&mut now, &mut next);
            next.clear();
            if anchored && now.list.is_empty() {
                return false;
            }
            before = here;
        }
    }

    /// Follows everything that takes no character; true if that reaches the end of the pattern. `around` is what stands
    /// before and behind the position.
    fn add(&self, threads: &mut Threads, pc: usize, around: (Option<char>, Option<char>)) -> bool {
        threads.open.push(pc);
        while let Some(pc) = threads.open.pop() {
            if threads.seen[pc] == threads.round {
                continue;
            }
            threads.seen[pc] = threads.round;
            match &self.program[pc] {
                Step::Match => return true,
                Step::Jump(to) => threads.open.push(*to),
                Step::Split(a, b) => {
                    threads.open.push(*b);
                    threads.open.push(*a);
                }
                Step::Assert(a) if holds(*a, around) => threads.open.push(pc + 1),
                Step::Assert(_) => {}
                Step::One(_) => threads.list.push(pc),
            }
        }
        false
    }
}

/// The steps that the next character is tried on.
struct Threads {
    list: Vec<usize>,
    open: Vec<usize>,
    /// The round in which a step was last reached.
    seen: Vec<u32>,
    round: u32,
}

impl Threads {
    fn new(len: usize) -> Threads {
        Threads { list: Vec::new(), open: Vec::new(), seen: vec![0; len], round: 1 }
    }

    fn clear(&mut self) {
        self.list.clear();
        self.round += 1;
    }
}

fn holds(assertion: Assertion, (before, here): (Option<char>, Option<char>)) -> bool {
    let word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    let boundary = word(before) != word(here);
    match assertion {
        Assertion::TextStart => before.is_none(),
        Assertion::TextEnd => here.is_none(),
        Assertion::LineStart => before.is_none_or(|c| c == '\n'),
        Assertion::LineEnd => here.is_none_or(|c| c == '\n'),
        Assertion::WordBoundary => boundary,
        Assertion::NoWordBoundary => !boundary,
    }
}
