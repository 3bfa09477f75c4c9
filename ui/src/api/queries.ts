// SPDX-License-Identifier: Apache-2.0
// Reading for components: kept between pages, fetched anew every now and then while a page is looked at.
import {keepPreviousData, useQuery, useQueryClient, type UseQueryResult} from '@tanstack/react-query';
import {useCallback} from 'react';

import {ApiError, reread, type Query} from './client';

interface How {
  /** Fetch anew every so many milliseconds. */
  every?: number;
  enabled?: boolean;
}

export const CALM = 15_000;
export const LIVELY = 5_000;

export function useApi<T>(path: string, query?: Query, how: How = {}): UseQueryResult<T> {
  const client = useQueryClient();
  const queryKey = [path, query ?? {}];
  return useQuery<T>({
    queryKey,
    queryFn: ({signal}) => reread(client.getQueryData<T>(queryKey), path, query, signal),
    refetchInterval: how.every ?? false,
    enabled: how.enabled ?? true,
    placeholderData: keepPreviousData,
  });
}

/** Everything that was read below this path is out of date. */
export function useRefresh(): (...paths: string[]) => Promise<void> {
  const client = useQueryClient();
  return useCallback(
    async (...paths) => {
      await client.invalidateQueries({predicate: (q) => paths.some((p) => String(q.queryKey[0]).startsWith(p))});
    },
    [client],
  );
}

export const retryable = (count: number, error: unknown): boolean =>
  count < 2 && !(error instanceof ApiError && error.status >= 400 && error.status < 500);
