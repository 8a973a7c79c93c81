//! One request's shared rules: a piece of what was taken ahead, one question to the server, or what this edge
//! decides alone. All of them admit it or none has counted it.

use super::Shared;
use super::ahead::Piece;
use super::entry::Entry;
use super::give_back::Return;
use super::link::Link;
use crate::edge::live::unix_now;
use crate::limits::shared::{Line, VALUES, Who, standing};
use crate::limits::{Limiter, Receipt, RuleSet, Standing, Subject, Tick};
use redis::{ErrorKind, RedisError, RedisResult};
use std::sync::Arc;
use std::time::Instant;

/// What came of it.
pub(super) struct Taken {
    pub(super) verdict: Verdict,
    /// Whether all of them admit it.
    pub(super) is_admitted: bool,
    /// Of every shared rule that applied and was asked.
    pub(super) standings: Vec<Standing>,
    pub(super) spent: Spent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Each rule was, or lets all pass.
    Asked,
    /// Nobody answers, and a rule lets nothing pass then.
    Closed,
}

/// What an admitted request holds, and may give back.
#[derive(Default)]
pub(in crate::edge) struct Spent {
    shared: Option<Arc<Shared>>,
    /// Given back at its end.
    held: Vec<Entry>,
    /// Given back if its upstream fails.
    refunded: Vec<Entry>,
    /// This edge's own counts of the same.
    mirrored: Vec<Receipt>,
}

impl Spent {
    fn of(shared: &Arc<Shared>) -> Self {
        let mut spent = Self::default();
        spent.shared = Some(shared.clone());
        spent
    }

    /// The upstream failed. Once.
    pub(in crate::edge) fn refund(&mut self) {
        if let Some(shared) = &self.shared {
            self.refunded.drain(..).for_each(|entry| shared.give_back(Return::Count(entry)));
        }
        self.mirrored.iter_mut().for_each(Receipt::refund);
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            for entry in self.held.drain(..) {
                shared.held.remove(&entry.id);
                shared.give_back(Return::Count(entry));
            }
        }
    }
}

/// A request, as its rules count it.
pub(super) struct Request<'a> {
    pub(super) rules: &'a RuleSet,
    pub(super) who: Who<'a>,
    pub(super) subject: Subject,
    pub(super) now: Tick,
}

/// One line and what has become of it.
struct Asked<'a> {
    line: Line<'a>,
    entry: Entry,
}

impl Shared {
    pub(super) async fn take(self: &Arc<Self>, request: &Request<'_>) -> Taken {
        let lines = request.rules.lines(&self.server.prefix, &request.who, &request.subject);
        let Some(link) = self.link.load_full() else { return self.alone(request, lines) };
        let mut ahead = TakenAhead { shared: self, pieces: Vec::new(), asking: Vec::new() };
        let mut standings = Vec::with_capacity(lines.len());
        let mut asked = Vec::with_capacity(lines.len());
        let mut spent_ahead = Vec::new();
        for line in lines {
            match ahead.spend(&line, request.now) {
                Some(Piece::Spent { remaining, secs }) => {
                    standings.push(Standing {
                        rule: line.nth,
                        remaining,
                        effective_secs: secs.max(1),
                        cost: line.cost,
                        short: false,
                    });
                    spent_ahead.push(line);
                }
                Some(Piece::Lacking { extra }) => asked.push(self.asked(line, extra)),
                None => asked.push(self.asked(line, 0)),
            }
        }
        if asked.is_empty() {
            self.count("ahead");
            ahead.keep();
            return self.spent(request, standings, &spent_ahead, Vec::new());
        }
        let entries: Vec<Entry> = asked.iter().map(|one| one.entry.clone()).collect();
        let answers = match self.ask(&link, "take", &entries).await {
            Ok(answers) => answers,
            Err(error) => {
                self.broke(&link, &error);
                drop(ahead);
                let lines = asked.into_iter().map(|one| one.line).chain(spent_ahead).collect();
                return self.alone(request, lines);
            }
        };
        self.count("server");
        for (one, answer) in asked.iter_mut().zip(&answers) {
            standings.push(standing(&one.line, answer.room, answer.until, answer.short));
            one.entry.stamp = answer.stamp;
        }
        let admitted = answers.iter().all(|answer| answer.admitted);
        ahead.fill(&asked, &answers, request.now);
        if admitted {
            ahead.keep();
            let asked = asked.into_iter().zip(&answers).filter(|(_, answer)| !answer.short);
            return self.spent(request, standings, &spent_ahead, asked.map(|(one, _)| one).collect());
        }
        // What one part of a cluster has counted for a request that another refused.
        for (one, answer) in asked.iter().zip(&answers) {
            if answer.admitted && !answer.short {
                self.give_back(Return::Count(one.entry.clone()));
            }
        }
        Taken { verdict: Verdict::Asked, is_admitted: false, standings, spent: Spent::default() }
    }

    fn asked<'a>(&self, line: Line<'a>, extra: u32) -> Asked<'a> {
        Asked { entry: self.entry(&line, extra), line }
    }

    fn entry(&self, line: &Line<'_>, extra: u32) -> Entry {
        let mut entry = Entry::of(line, extra);
        if line.is_held() {
            entry.id = self.fresh();
        }
        entry
    }

    fn count(&self, by: &str) {
        self.metrics.shared_decisions.with_label_values(&[by]).inc();
    }

    /// Asks within the deadline; one answer for each entry.
    pub(super) async fn ask(&self, link: &Link, op: &str, entries: &[Entry]) -> RedisResult<Vec<Answer>> {
        let began = Instant::now();
        let asked = tokio::time::timeout(self.server.deadline, link.decide_all(op, entries)).await;
        self.metrics.shared_seconds.observe(began.elapsed().as_secs_f64());
        let groups = asked.map_err(|_| RedisError::from((ErrorKind::Io, "no answer within the deadline")))?;
        let mut answers = vec![Answer::default(); entries.len()];
        for (places, values) in groups {
            let values = values?;
            let [admitted, values @ ..] = values.as_slice() else { return Err(garbled()) };
            let (each, rest) = values.as_chunks::<VALUES>();
            if each.len() != places.len() || !rest.is_empty() {
                return Err(garbled());
            }
            for (place, [room, until, short, extra, stamp]) in places.into_iter().zip(each) {
                answers[place] = Answer {
                    admitted: *admitted == 1,
                    room: *room,
                    until: *until,
                    short: *short == 1,
                    extra: u32::try_from(*extra).unwrap_or(0),
                    stamp: *stamp,
                };
            }
        }
        Ok(answers)
    }

    /// What an admitted request has spent: counted here too, so that this edge's share is known at once when
    /// nobody answers.
    fn spent(
        self: &Arc<Self>,
        request: &Request<'_>,
        standings: Vec<Standing>,
        ahead: &[Line<'_>],
        asked: Vec<Asked<'_>>,
    ) -> Taken {
        let mut spent = Spent::of(self);
        let lines = ahead.iter().chain(asked.iter().map(|one| &one.line));
        for mirror in lines.filter_map(Line::mirror) {
            let (_, receipt) = self.limiter.admit(mirror, &request.subject, request.now);
            spent.mirrored.extend(receipt);
        }
        for Asked { line, entry } in asked {
            self.keep_entry(&line, entry, &mut spent);
        }
        Taken { verdict: Verdict::Asked, is_admitted: true, standings, spent }
    }

    fn keep_entry(&self, line: &Line<'_>, entry: Entry, spent: &mut Spent) {
        if line.is_held() {
            self.held.insert(entry.clone());
            spent.held.push(entry);
        } else if line.is_refunded() && entry.extra == 0 {
            spent.refunded.push(entry);
        }
    }

    /// Nobody answers: each rule as it says.
    fn alone(self: &Arc<Self>, request: &Request<'_>, lines: Vec<Line<'_>>) -> Taken {
        let mut taken = without_server(&self.limiter, request);
        match taken.verdict {
            Verdict::Closed => self.count("closed"),
            Verdict::Asked if taken.standings.is_empty() => self.count("open"),
            Verdict::Asked => self.count("local"),
        }
        if taken.is_admitted {
            taken.spent.shared = Some(self.clone());
            for line in lines {
                if taken.standings.iter().any(|one| one.rule == line.nth && !one.short) {
                    self.owe(&line, &mut taken.spent);
                }
            }
        }
        taken
    }

    /// Remembers what the server is to be told when it is back.
    fn owe(&self, line: &Line<'_>, spent: &mut Spent) {
        let entry = self.entry(line, 0);
        if line.is_held() {
            self.held.insert(entry.clone());
            spent.held.push(entry);
        } else {
            self.owed.add(&entry, line.is_quota(), unix_now());
        }
    }
}

/// Nobody is asked: each rule as it says.
pub(super) fn without_server(limiter: &Arc<Limiter>, request: &Request<'_>) -> Taken {
    let mut taken =
        Taken { verdict: Verdict::Asked, is_admitted: true, standings: Vec::new(), spent: Spent::default() };
    if request.rules.closes(&request.who, &request.subject) {
        (taken.verdict, taken.is_admitted) = (Verdict::Closed, false);
        return taken;
    }
    let Some((rules, places)) = request.rules.alone().filter(|(rules, _)| !rules.is_empty()) else {
        return taken;
    };
    let (decision, receipt) = limiter.admit(rules, &request.subject, request.now);
    let standings = decision.standings().as_slice().iter();
    taken.standings = standings.map(|one| Standing { rule: places[one.rule], ..*one }).collect();
    taken.is_admitted = decision.is_admitted();
    taken.spent.mirrored.extend(receipt);
    taken
}

fn garbled() -> RedisError {
    RedisError::from((ErrorKind::UnexpectedReturnType, "the shared server answered something else"))
}

/// What the server said of one count.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Answer {
    pub(super) admitted: bool,
    pub(super) room: i64,
    pub(super) until: i64,
    pub(super) short: bool,
    pub(super) extra: u32,
    pub(super) stamp: i64,
}

/// Pieces of blocks that a request has taken, until it is known whether it is admitted; and blocks that it asks
/// for. Given back and given up when it is dropped.
struct TakenAhead<'a> {
    shared: &'a Shared,
    pieces: Vec<(String, u32, u32)>,
    asking: Vec<String>,
}

impl TakenAhead<'_> {
    /// A piece of the line's block; none where it has no blocks.
    fn spend(&mut self, line: &Line<'_>, now: Tick) -> Option<Piece> {
        let size = line.block();
        if size == 0 {
            return None;
        }
        let piece = self.shared.ahead.spend(&line.key, line.cost, size, now);
        match piece {
            Piece::Spent { .. } => self.pieces.push((line.key.clone(), line.cost, size)),
            Piece::Lacking { extra: 1.. } => self.asking.push(line.key.clone()),
            Piece::Lacking { extra: 0 } => {}
        }
        Some(piece)
    }

    fn fill(&mut self, asked: &[Asked<'_>], answers: &[Answer], now: Tick) {
        for (one, answer) in asked.iter().zip(answers).filter(|(one, _)| one.entry.extra > 0) {
            let stands = standing(&one.line, answer.room, answer.until, answer.short);
            let until = Tick::from_nanos(now.nanos().saturating_add(one.line.rule.per_nanos()));
            let granted = if answer.admitted { answer.extra } else { 0 };
            self.shared.ahead.fill(&one.line.key, granted, until, (stands.remaining, stands.effective_secs));
        }
        self.asking.clear();
    }

    /// The request is admitted: its pieces are spent.
    fn keep(mut self) {
        self.pieces.clear();
    }
}

impl Drop for TakenAhead<'_> {
    fn drop(&mut self) {
        for (key, cost, size) in self.pieces.drain(..) {
            self.shared.ahead.unspend(&key, cost, size);
        }
        self.asking.drain(..).for_each(|key| self.shared.ahead.forgo(&key));
    }
}
