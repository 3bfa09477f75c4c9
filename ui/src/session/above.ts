// SPDX-License-Identifier: Apache-2.0
/** Where a question about who one is lies: above the question, itself above a page, that led to it. */
export const ABOVE = 3000;
