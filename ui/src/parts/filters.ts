// SPDX-License-Identifier: Apache-2.0
// What a list is narrowed to stands in the URL: it can be sent to somebody, and Back undoes it.
import {useCallback, useMemo} from 'react';
import {useSearchParams} from 'react-router-dom';

export type Filters<K extends string> = Partial<Record<K, string>>;

export function useFilters<K extends string>(...names: K[]): [Filters<K>, (change: Filters<K>) => void, () => void] {
  const [params, setParams] = useSearchParams();
  const list = names.join(' ');
  const filters = useMemo(() => {
    const f: Filters<K> = {};
    for (const name of list.split(' ') as K[]) {
      const value = params.get(name);
      if (value) {
        f[name] = value;
      }
    }
    return f;
  }, [params, list]);
  const set = useCallback(
    (change: Filters<K>) => {
      setParams(
        (old) => {
          const next = new URLSearchParams(old);
          for (const [name, value] of Object.entries(change) as [string, string | undefined][]) {
            if (value) {
              next.set(name, value);
            } else {
              next.delete(name);
            }
          }
          return next;
        },
        {replace: true},
      );
    },
    [setParams],
  );
  const clear = useCallback(() => setParams({}, {replace: true}), [setParams]);
  return [filters, set, clear];
}
