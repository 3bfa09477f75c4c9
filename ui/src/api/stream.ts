// SPDX-License-Identifier: Apache-2.0
// Server-sent events (WHATWG HTML, 9.2) over fetch: unlike EventSource it can be ended, tells why it ended, and speaks with the same
// headers as every other request. Goes on with the last id after a break.
import {ApiError, request, type Query} from './client';

export interface StreamEvent {
  id: string;
  type: string;
  data: string;
}

/** Bytes in, events out; keeps what is not finished. */
export class StreamReader {
  private buffer = '';
  private id = '';
  private type = '';
  private data: string[] = [];

  push(text: string): StreamEvent[] {
    const events: StreamEvent[] = [];
    this.buffer += text;
    const lines = this.buffer.split(/\r\n|\n|\r(?!$)/);
    this.buffer = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (this.data.length) {
          events.push({id: this.id, type: this.type || 'message', data: this.data.join('\n')});
        }
        this.type = '';
        this.data = [];
      } else {
        this.take(line);
      }
    }
    return events;
  }

  private take(line: string): void {
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'data') {
      this.data.push(value);
    } else if (field === 'event') {
      this.type = value;
    } else if (field === 'id' && !value.includes('\0')) {
      this.id = value;
    }
  }
}

export interface Following {
  query?: Query;
  onEvent: (event: StreamEvent) => void;
  onState: (live: boolean) => void;
  signal: AbortSignal;
}

const PAUSE_MS = 1000;
const PAUSE_MAX_MS = 30000;

const sleep = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });

async function readOnce(path: string, f: Following, after: string, seen: (id: string) => void): Promise<void> {
  const response = await request('GET', path, {
    query: {...f.query, after: after || undefined},
    signal: f.signal,
    accept: 'text/event-stream',
  });
  const reader = new StreamReader();
  const bytes = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  f.onState(true);
  for (;;) {
    const chunk = await bytes?.read();
    if (!chunk || chunk.done) {
      return;
    }
    for (const event of reader.push(chunk.value)) {
      seen(event.id);
      f.onEvent(event);
    }
  }
}

/** Follows until the signal says stop. Refusals that waiting does not cure end it with an ApiError. */
export async function follow(path: string, f: Following): Promise<void> {
  let after = '';
  let pause = PAUSE_MS;
  while (!f.signal.aborted) {
    try {
      await readOnce(path, f, after, (id) => {
        after = id || after;
        pause = PAUSE_MS;
      });
    } catch (e) {
      if (!f.signal.aborted && e instanceof ApiError && e.status >= 400 && e.status < 500 && e.status !== 429) {
        f.onState(false);
        throw e;
      }
    }
    if (f.signal.aborted) {
      return;
    }
    f.onState(false);
    await sleep(pause, f.signal);
    pause = Math.min(pause * 2, PAUSE_MAX_MS);
  }
}
