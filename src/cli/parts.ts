/** What the program hands to its commands, and what a command leaves behind. */
import type { Command } from 'commander'
import type { Environment } from '../config/environment.ts'
import type { Registry } from '../config/registry.ts'

/** How a command ended; the numbers are those of sysexits(3) where it has one. */
export const exitCodes = { ok: 0, failed: 1, usage: 64, config: 78 } as const
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]

/** Where a command writes: its results to `out`, messages for the person who called it to `error`. */
export interface Output {
  out(text: string): void
  error(text: string): void
}

export interface Parts {
  /** What the YAML may name: loaded by the commands that read one. */
  loadRegistry(): Promise<Registry>
  readonly output: Output
  readonly environment: Environment
  /** Where files that the command line names are looked for. */
  readonly folder: string
  readonly version: string
  /** Standard input, and whether a person types there. */
  readonly input: NodeJS.ReadableStream & { readonly isTTY?: boolean }
  /** Whether a person reads standard error: the log is lines of JSON otherwise. */
  readonly pretty: boolean
  /** Turns a password into the line that the YAML keeps. */
  hashPassword(password: string): Promise<string>
}

/** What a command's action answers with. */
export type Run = (code: Promise<ExitCode>) => Promise<void>

/** Gives a command its arguments, options and action. */
export type Define = (command: Command, parts: Parts, run: Run) => void | Promise<void>
