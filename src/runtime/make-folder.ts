/** Makes a folder with those above it. */
import fs from 'node:fs'
import path from 'node:path'
import { hasCode } from './errors.ts'

/**
 * Node's own `recursive` never comes to an end where a folder is there and nothing can be
 * made in it, as in /proc (libuv answers ENOENT for it, and Node makes the parent again, and again).
 * @param mode of what is made. Default: what is in it is nobody else's to read
 * @throws what the system says.
 */
export function makeFolder(folder: string, mode = 0o700): void {
  const missing: string[] = []
  let above = path.resolve(folder)
  while (!fs.existsSync(above)) {
    missing.push(above)
    above = path.dirname(above)
  }
  // A file in its place: mkdir says so.
  if (missing.length === 0 && !fs.statSync(above).isDirectory()) missing.push(above)
  for (const each of missing.toReversed()) makeOne(each, mode)
}

function makeOne(folder: string, mode: number): void {
  try {
    fs.mkdirSync(folder, mode)
  } catch (error) {
    // Somebody else may have made it meanwhile.
    if (!hasCode(error, 'EEXIST') || !fs.statSync(folder).isDirectory()) throw error
  }
}
