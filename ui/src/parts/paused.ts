// SPDX-License-Identifier: Apache-2.0
import {useEffect, useState} from 'react';

/** The text as it was when somebody last paused in typing it. */
export function usePaused(text: string, pauseMs = 300): string {
  const [paused, setPaused] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setPaused(text), pauseMs);
    return () => clearTimeout(timer);
  }, [text, pauseMs]);
  return paused;
}
