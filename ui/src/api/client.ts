// SPDX-License-Identifier: Apache-2.0
// The one way to the manager. Everything that the API can say instead of an answer is an ApiError; two of these are met here: when the
// session has ended, and when an act needs a fresh second factor, somebody is asked (Prompts) and the request goes out once more, so that
// nothing which a person has typed is lost.

export interface ApiErrorBody {
  code: string;
  message: string;
  verb?: string;
  object?: string;
  rule?: string;
  way?: string;
  how?: string;
  methods?: string[];
  file?: string;
  line?: number;
  column?: number;
  /** Policies that changed under a draft. */
  conflicts?: {policy: string; revision: number}[];
  hosts?: {host: string; table: string; need: number; capacity: number}[];
}

export class ApiError extends Error {
  readonly status: number;
  readonly body: ApiErrorBody;
  readonly retryAfter: number | undefined;

  constructor(status: number, body: ApiErrorBody, retryAfter?: number) {
    super(body.message);
    this.name = 'ApiError';
    this.status = status;
    this.body = body;
    this.retryAfter = retryAfter;
  }

  get code(): string {
    return this.body.code;
  }
}

/** Who can be asked to log in again or to show a second factor. Resolves true when that was done. */
export interface Prompts {
  login: () => Promise<boolean>;
  stepUp: (methods: string[], verb: string) => Promise<boolean>;
}

let prompts: Prompts | null = null;
let csrf = '';

export function setPrompts(value: Prompts | null): void {
  prompts = value;
}

export function setCsrf(value: string): void {
  csrf = value;
}

export type Query = Record<string, string | number | boolean | null | undefined>;

export function url(path: string, query?: Query): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== '') {
      params.set(name, String(value));
    }
  }
  const text = params.toString();
  return `/v1/${path}${text ? `?${text}` : ''}`;
}

/** One part of a path. */
export const part = encodeURIComponent;

export interface Options {
  query?: Query | undefined;
  /** An object goes as JSON, text as YAML. */
  body?: unknown;
  signal?: AbortSignal | undefined;
  accept?: string;
  /** Refusals go to the caller and nobody is asked: for logging in itself. */
  quiet?: boolean;
  /** The ETag of what we have: the answer may be 304, that it is as before. */
  known?: string | undefined;
}

function headers(method: string, o: Options): Record<string, string> {
  const h: Record<string, string> = {Accept: o.accept ?? 'application/json'};
  if (o.body !== undefined) {
    h['Content-Type'] = typeof o.body === 'string' ? 'text/yaml' : 'application/json';
  }
  if (method !== 'GET' && csrf) {
    h['X-Bulkhead-Csrf'] = csrf;
  }
  if (o.known !== undefined) {
    h['If-None-Match'] = o.known;
  }
  return h;
}

async function errorOf(response: Response): Promise<ApiError> {
  const wait = Number(response.headers.get('Retry-After'));
  let body: ApiErrorBody = {code: `http_${response.status}`, message: response.statusText};
  try {
    body = ((await response.json()) as {error: ApiErrorBody}).error ?? body;
  } catch {
    // something between us and the manager has answered; its status says enough
  }
  return new ApiError(response.status, body, wait || undefined);
}

async function send(method: string, path: string, o: Options): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url(path, o.query), {
      method,
      headers: headers(method, o),
      body: o.body === undefined ? null : typeof o.body === 'string' ? o.body : JSON.stringify(o.body),
      signal: o.signal ?? null,
      credentials: 'same-origin',
      cache: 'no-store',
    });
  } catch (e) {
    if (e instanceof DOMException && e.name === 'AbortError') {
      throw e;
    }
    throw new ApiError(0, {code: 'unreachable', message: e instanceof Error ? e.message : String(e)});
  }
  if (!response.ok && !(response.status === 304 && o.known !== undefined)) {
    throw await errorOf(response);
  }
  return response;
}

/** As send, but who is asked for more rights may give them. */
export async function request(method: string, path: string, o: Options = {}): Promise<Response> {
  try {
    return await send(method, path, o);
  } catch (e) {
    if (!(e instanceof ApiError) || o.quiet || !prompts) {
      throw e;
    }
    const met =
      e.status === 401
        ? await prompts.login()
        : e.code === 'step_up'
          ? await prompts.stepUp(e.body.methods ?? [], e.body.verb ?? '')
          : false;
    if (!met) {
      throw e;
    }
    return send(method, path, o);
  }
}

export async function call<T>(method: string, path: string, o: Options = {}): Promise<T> {
  const response = await request(method, path, o);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

interface Tagged {
  /** Of the answer that this is (ETag). */
  etag?: string;
}

/** Reads anew what was read before (kept), which comes back itself when it is as before. */
export async function reread<T>(kept: T | undefined, path: string, query?: Query, signal?: AbortSignal): Promise<T> {
  const response = await request('GET', path, {query, signal, known: (kept as Tagged | undefined)?.etag});
  if (response.status === 304 && kept !== undefined) {
    return kept;
  }
  const data = (await response.json()) as T;
  const etag = response.headers.get('ETag');
  return etag ? {...data, etag} : data;
}

export const get = <T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> => call<T>('GET', path, {query, signal});
export const post = <T>(path: string, body?: unknown, query?: Query): Promise<T> => call<T>('POST', path, {body, query});
export const put = <T>(path: string, body?: unknown, query?: Query): Promise<T> => call<T>('PUT', path, {body, query});
export const patch = <T>(path: string, body?: unknown, query?: Query): Promise<T> => call<T>('PATCH', path, {body, query});
export const del = <T>(path: string, query?: Query): Promise<T> => call<T>('DELETE', path, {query});
