// SPDX-License-Identifier: Apache-2.0
import {useEffect, useState} from 'react';

const NARROW = '(max-width: 900px)'; // as app.css

/** Is the window too narrow for things beside each other? */
export function useNarrow(): boolean {
  const [narrow, setNarrow] = useState(() => matchMedia(NARROW).matches);
  useEffect(() => {
    const media = matchMedia(NARROW);
    const changed = (): void => setNarrow(media.matches);
    media.addEventListener('change', changed);
    return () => media.removeEventListener('change', changed);
  }, []);
  return narrow;
}
