// SPDX-License-Identifier: Apache-2.0
// What was read, or that it is on its way, or why not. Old data stay in sight while new ones come or fail to.
import type {UseQueryResult} from '@tanstack/react-query';
import type {ReactNode} from 'react';

import {Failure} from './failure';
import {Waiting} from './waiting';

export function Data<T>({query, children}: {query: UseQueryResult<T>; children: (data: T) => ReactNode}) {
  return (
    <>
      {query.error && <Failure error={query.error} onRetry={() => void query.refetch()} />}
      {query.data !== undefined ? children(query.data) : !query.error && <Waiting />}
    </>
  );
}
