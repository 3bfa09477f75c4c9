// SPDX-License-Identifier: Apache-2.0
// The nonce of this page, for rules of style that are made at run time. Browsers hide the attribute from CSS; scripts of the page may ask.
export const nonce: string = document.querySelector<HTMLElement>('meta[property="csp-nonce"]')?.nonce ?? '';

// Parts of Ant Design make rules without it, whatever its configuration says (rc-util measures scroll bars that way), so every <style> that
// a script of ours makes gets it. Scripts of others don't run here at all.
const create = document.createElement.bind(document);
document.createElement = ((name: string, options?: ElementCreationOptions) => {
  const element = create(name, options);
  if (element instanceof HTMLStyleElement) {
    element.nonce = nonce;
  }
  return element;
}) as typeof document.createElement;
