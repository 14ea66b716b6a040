// Distributions of durations as /api/events sends them: [[step, count], …], where step n is from
// 2^(n/16) microseconds up to 2^((n+1)/16). They are counted since the start; what happened between
// two of them is their difference.

const STEPS_PER_OCTAVE = 16;

function stepStart(step) {
  return 2 ** (step / STEPS_PER_OCTAVE);
}

/** What `now` has more than `before`. */
function stepsBetween(before, now) {
  const counts = new Map(before);
  const more = [];
  for (const [step, total] of now ?? []) {
    const added = total - (counts.get(step) ?? 0);
    if (added > 0) more.push([step, added]);
  }
  return more;
}

function stepsTogether(many) {
  const counts = new Map();
  for (const steps of many) {
    for (const [step, added] of steps) counts.set(step, (counts.get(step) ?? 0) + added);
  }
  return [...counts].sort((a, b) => a[0] - b[0]);
}

function stepsCount(steps) {
  return steps.reduce((sum, [, added]) => sum + added, 0);
}

/** The microseconds that this share of them took at most, to within a step: 5 %. */
function quantile(steps, share) {
  const total = stepsCount(steps);
  if (total === 0) return null;
  const wanted = Math.max(1, Math.ceil(share * total));
  let seen = 0;
  for (const [step, added] of steps) {
    if (seen + added >= wanted) {
      return stepStart(step + (wanted - seen) / (added + 1));
    }
    seen += added;
  }
  return null;
}
