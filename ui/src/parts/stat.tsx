// SPDX-License-Identifier: Apache-2.0
// One figure with its meaning; a link when there is more behind it.
import type {ReactNode} from 'react';
import {Link} from 'react-router-dom';

export type Mood = 'good' | 'warn' | 'bad' | 'calm';

interface Props {
  label: string;
  value: ReactNode;
  hint?: ReactNode;
  mood?: Mood;
  to?: string;
}

export function Stat({label, value, hint, mood = 'calm', to}: Props) {
  const inner = (
    <>
      <span className="stat-label">{label}</span>
      <span className="stat-value num">{value}</span>
      {hint && <span className="stat-hint">{hint}</span>}
    </>
  );
  return to ? (
    <Link to={to} className={`stat stat-${mood} stat-link`}>
      {inner}
    </Link>
  ) : (
    <div className={`stat stat-${mood}`}>{inner}</div>
  );
}
