// SPDX-License-Identifier: Apache-2.0
// Lines that begin with +, - or a space, as the manager writes differences.

const KIND: Record<string, string> = {'+': 'diff-add', '-': 'diff-del', '.': 'diff-gap'};

export function TextDiff({text}: {text: string}) {
  return (
    <pre className="diff">
      {text
        .replace(/\n$/, '')
        .split('\n')
        .map((line, i) => (
          <div key={i} className={KIND[line[0] ?? ' '] ?? ''}>
            {line || ' '}
          </div>
        ))}
    </pre>
  );
}

interface Line {
  kind: ' ' | '+' | '-';
  text: string;
}

/** Longest common subsequence, after equal ends are cut off; too different texts are all old, then all new. */
export function lineDiff(before: string, after: string, limit = 4_000_000): Line[] {
  const a = before.split('\n');
  const b = after.split('\n');
  let from = 0;
  let ends = 0;
  while (from < a.length && from < b.length && a[from] === b[from]) {
    from++;
  }
  while (ends < a.length - from && ends < b.length - from && a[a.length - 1 - ends] === b[b.length - 1 - ends]) {
    ends++;
  }
  const x = a.slice(from, a.length - ends);
  const y = b.slice(from, b.length - ends);
  const middle = x.length * y.length > limit ? [...x.map((text): Line => ({kind: '-', text})), ...y.map((text): Line => ({kind: '+', text}))] : lcs(x, y);
  const same = (text: string): Line => ({kind: ' ', text});
  return [...a.slice(0, from).map(same), ...middle, ...a.slice(a.length - ends).map(same)];
}

function lcs(x: string[], y: string[]): Line[] {
  const width = y.length + 1;
  const best = new Uint32Array((x.length + 1) * width);
  for (let i = x.length - 1; i >= 0; i--) {
    for (let j = y.length - 1; j >= 0; j--) {
      best[i * width + j] =
        x[i] === y[j] ? (best[(i + 1) * width + j + 1] ?? 0) + 1 : Math.max(best[(i + 1) * width + j] ?? 0, best[i * width + j + 1] ?? 0);
    }
  }
  const lines: Line[] = [];
  let i = 0;
  let j = 0;
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i] === y[j]) {
      lines.push({kind: ' ', text: x[i++] ?? ''});
      j++;
    } else if (j >= y.length || (i < x.length && (best[(i + 1) * width + j] ?? 0) >= (best[i * width + j + 1] ?? 0))) {
      lines.push({kind: '-', text: x[i++] ?? ''});
    } else {
      lines.push({kind: '+', text: y[j++] ?? ''});
    }
  }
  return lines;
}

const AROUND = 3;

/** The lines that differ with some around them, in the form that TextDiff shows; "" when nothing differs. */
export function diffText(before: string, after: string): string {
  const lines = lineDiff(before, after);
  const near = new Set<number>();
  lines.forEach((l, i) => {
    if (l.kind !== ' ') {
      for (let k = i - AROUND; k <= i + AROUND; k++) {
        near.add(k);
      }
    }
  });
  const out: string[] = [];
  let gap = false;
  lines.forEach((l, i) => {
    if (near.has(i)) {
      out.push(l.kind + l.text);
      gap = false;
    } else if (!gap) {
      out.push('...');
      gap = true;
    }
  });
  return near.size ? out.join('\n') : '';
}
