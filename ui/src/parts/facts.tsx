// SPDX-License-Identifier: Apache-2.0
import {Fragment, type ReactNode} from 'react';

/** Names and values; what has no value is left out. */
export function Facts({items}: {items: [string, ReactNode][]}) {
  return (
    <dl className="facts">
      {items
        .filter(([, value]) => value !== undefined && value !== null && value !== false && value !== '')
        .map(([name, value]) => (
          <Fragment key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </Fragment>
        ))}
    </dl>
  );
}
