//! Which policy is drawn how.

/// Hues of the style sheet, chosen to be told apart by colour-blind readers (after Okabe, Ito 2008).
const HUES: usize = 8;

/// Dashes tell lines of the same hue apart.
const DASHES: [&str; 3] = ["", "7 3", "2 3"];

/// How a line is drawn: a class of the style sheet, and a dash pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pen {
    pub(super) class: &'static str,
    pub(super) dash: &'static str,
}

/// A pen for each policy, in order: what all are compared with is grey or ink, everything else has a hue.
pub(super) fn pens(policies: &[&str]) -> Vec<Pen> {
    const CLASSES: [&str; HUES] = ["h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8"];
    let (mut hue, mut bound) = (0, 0);
    let pen = |policy: &&str| match *policy {
        "lru" => Pen { class: "ink", dash: "" },
        "fifo" => Pen { class: "grey", dash: "" },
        policy if policy.starts_with("belady") => {
            bound += 1;
            Pen { class: "grey", dash: DASHES[1 + (bound - 1) % 2] }
        }
        _ => {
            hue += 1;
            Pen { class: CLASSES[(hue - 1) % HUES], dash: DASHES[(hue - 1) / HUES % DASHES.len()] }
        }
    };
    policies.iter().map(pen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_policies_look_alike() {
        let others: Vec<String> = (0..24).map(|n| format!("policy{n}")).collect();
        let policies: Vec<&str> =
            ["fifo", "lru", "belady"].into_iter().chain(others.iter().map(String::as_str)).collect();
        let pens = pens(&policies);
        for (at, pen) in pens.iter().enumerate() {
            assert!(!pens[..at].contains(pen), "{} looks like another", policies[at]);
        }
    }
}
