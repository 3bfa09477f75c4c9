// SPDX-License-Identifier: Apache-2.0
/// <reference types="vitest/config" />
// `npm run dev` speaks to a running manager: BULKHEAD_API names it, and BULKHEAD_TOKEN, when it is set, is put into the requests here, by
// the development server. The console itself knows no tokens, only its session.
import react from '@vitejs/plugin-react';
import {defineConfig} from 'vite';

const api = process.env.BULKHEAD_API ?? 'https://localhost:7443';
const token = process.env.BULKHEAD_TOKEN;

export default defineConfig({
  plugins: [react()],
  // The manager puts a fresh nonce in the place of this mark with every answer (src/manager/api/console.h).
  html: {cspNonce: 'BULKHEAD-NONCE'},
  server: {
    proxy: {'/v1': {target: api, secure: false, changeOrigin: true, ...(token ? {headers: {Authorization: `Bearer ${token}`}} : {})}},
  },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0, // data: URLs would need more rights in the Content-Security-Policy
    chunkSizeWarningLimit: 1600, // G6, which only pictures of the map fetch
    rollupOptions: {
      output: {
        // What is named here takes everything that it uses with it: nothing that the first page uses too may be among that.
        manualChunks: (id) => {
          if (/node_modules\/(@codemirror|@lezer|style-mod|crelt|w3c-keyname)\//.test(id)) {
            return 'editor';
          }
          return undefined;
        },
      },
    },
  },
  test: {include: ['src/**/*.test.ts'], environment: 'node'},
});
