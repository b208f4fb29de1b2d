/** The YAML that a command is about: found, read, and its mistakes shown. */
import { existsSync } from 'node:fs'
import path from 'node:path'
import { formatDiagnostic, type Diagnostic } from '../config/diagnostics.ts'
import type { LoadOptions, LoadResult, ReadResult } from '../config/load.ts'
import { exitCodes, type ExitCode, type Parts } from './parts.ts'

const usual = ['gateway.yaml', path.join('config', 'gateway.yaml')]

export const configArgument = '[config]'
export const configHelp = `the YAML file (default: ${usual.join(' or ')} here)`

/** The file as it was named, or the usual one of this folder. */
export function configFile(parts: Parts, named: string | undefined): string {
  if (named !== undefined) return named
  return usual.find((file) => existsSync(path.resolve(parts.folder, file))) ?? (usual[0] as string) // there are two
}

/** Loads the file and everything that it names. */
export async function load(parts: Parts, named: string | undefined): Promise<LoadResult> {
  const { loadConfig } = await loading()
  return await loadConfig(configFile(parts, named), await options(parts))
}

/** Reads the file without loading a handler. */
export async function read(parts: Parts, named: string | undefined): Promise<ReadResult> {
  const { readConfig } = await loading()
  return await readConfig(configFile(parts, named), await options(parts))
}

/** Not for whoever only asks for help. */
const loading = () => import('../config/load.ts')

async function options(parts: Parts): Promise<LoadOptions> {
  const { environment, folder } = parts
  return { ...(await parts.loadRegistry()), environment, folder }
}

/** `3 mistakes, 1 warning` */
export function summary(diagnostics: readonly Diagnostic[]): string {
  const errors = diagnostics.filter(({ severity }) => severity === 'error').length
  const warnings = diagnostics.length - errors
  const counted = (count: number, word: string) => `${count} ${word}${count === 1 ? '' : 's'}`
  const parts = [errors > 0 ? counted(errors, 'mistake') : '', warnings > 0 ? counted(warnings, 'warning') : '']
  return parts.filter((part) => part !== '').join(', ') || 'no mistakes'
}

/** Says every mistake on standard error; what a command ends with when there is an error among them. */
export function refuse({ output }: Parts, file: string, diagnostics: readonly Diagnostic[]): ExitCode {
  tell({ output }, diagnostics)
  output.error(`${file}: ${summary(diagnostics)}`)
  return exitCodes.config
}

export function tell({ output }: Pick<Parts, 'output'>, diagnostics: readonly Diagnostic[]): void {
  for (const diagnostic of diagnostics) output.error(formatDiagnostic(diagnostic))
}
