/** Jest's last reporter: names what was skipped, and ends the run with one line, `N passed, N failed`. */
import path from 'node:path'

export default class SummaryReporter {
  #config

  constructor(globalConfig) {
    this.#config = globalConfig
  }

  onRunComplete(_contexts, results) {
    const lines = []
    for (const { testFilePath, testResults } of results.testResults) {
      // With `-t` everything else is skipped, and nobody needs the list.
      if (this.#config.testNamePattern) break
      for (const { status, fullName } of testResults) {
        if (status !== 'pending' && status !== 'todo') continue
        lines.push(`skipped: ${fullName} (${path.relative(this.#config.rootDir, testFilePath)})`)
      }
    }
    // A file that does not even load has no tests of its own to count: it counts as one failure.
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites
    const skipped = results.numPendingTests + results.numTodoTests
    lines.push(`${results.numPassedTests} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
    // Jest's own summary comes after the reporters of the configuration: the last word is said at the exit.
    process.on('exit', () => process.stdout.write(`${lines.join('\n')}\n`))
  }
}
