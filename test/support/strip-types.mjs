/** Jest's transformer for TypeScript: Node's own type stripping, so that a test runs exactly the text that production runs. */
import { createHash } from 'node:crypto'
import { stripTypeScriptTypes } from 'node:module'

// Mode `strip` writes spaces over the types: lines and columns stay, and no source map is needed.
export default {
  process: (source) => ({ code: stripTypeScriptTypes(source, { mode: 'strip' }) }),
  getCacheKey: (source) => createHash('sha256').update(process.version).update(source).digest('hex'),
}
