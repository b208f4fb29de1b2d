/**
 * What of `node:http` and `node:https` is used: whoever imports it from there has each of their exports read, and one of them loads
 * the whole of undici then, which takes as long as everything else that a worker thread needs.
 */

export const { STATUS_CODES, ServerResponse, createServer, request } = process.getBuiltinModule('node:http')

/** Loaded when there is TLS. */
export const https = () => process.getBuiltinModule('node:https')
