// SPDX-License-Identifier: Apache-2.0
// The nonce of this page, for rules of style that are made at run time. Browsers hide the attribute from CSS; scripts of the page may ask.
export const nonce: string = document.querySelector<HTMLElement>('meta[property="csp-nonce"]')?.nonce ?? '';

// Parts of Ant Design make rules without it, whatever its configuration says (rc-util measures scroll bars that way, and some of its pictures hold an
// empty <style>), so every <style> that a script of ours makes gets it. Scripts of others don't run here at all.
function withNonce<T extends Element>(element: T): T {
  if (element instanceof HTMLStyleElement || element instanceof SVGStyleElement) {
    element.nonce = nonce;
  }
  return element;
}

const create = document.createElement.bind(document);
const createIn = document.createElementNS.bind(document) as (space: string | null, name: string, options?: ElementCreationOptions) => Element;
document.createElement = ((name: string, options?: ElementCreationOptions) => withNonce(create(name, options))) as typeof document.createElement;
document.createElementNS = ((space: string | null, name: string, options?: ElementCreationOptions) =>
  withNonce(createIn(space, name, options))) as typeof document.createElementNS;
