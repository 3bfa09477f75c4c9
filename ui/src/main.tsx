// SPDX-License-Identifier: Apache-2.0
import './app/early';

import {QueryClient, QueryClientProvider} from '@tanstack/react-query';
import {StrictMode} from 'react';
import {createRoot} from 'react-dom/client';
import {RouterProvider} from 'react-router-dom';

import {retryable} from './api/queries';
import {preload, router} from './app/router';
import {ThemeProvider} from './app/theme';
import {I18nProvider} from './i18n/i18n';
import './app/app.css';

const queries = new QueryClient({
  defaultOptions: {queries: {retry: retryable, staleTime: 2000, refetchOnWindowFocus: true}},
});

preload(location.pathname);

const root = document.getElementById('root');
if (root) {
  createRoot(root).render(
    <StrictMode>
      <I18nProvider>
        <ThemeProvider>
          <QueryClientProvider client={queries}>
            <RouterProvider router={router} />
          </QueryClientProvider>
        </ThemeProvider>
      </I18nProvider>
    </StrictMode>,
  );
}
