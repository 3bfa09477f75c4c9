// SPDX-License-Identifier: Apache-2.0
import {request, type Query} from './client';

/** Saves what the manager answers as a file; who is asked for a second factor meanwhile may show it, which a plain link could not. */
export async function download(path: string, query: Query, name: string): Promise<void> {
  const response = await request('GET', path, {query, accept: '*/*'});
  const address = URL.createObjectURL(await response.blob());
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  URL.revokeObjectURL(address);
}
