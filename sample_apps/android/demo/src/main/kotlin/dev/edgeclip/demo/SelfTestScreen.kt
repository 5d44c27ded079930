package dev.edgeclip.demo

import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.Button
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.unit.dp
import androidx.lifecycle.compose.collectAsStateWithLifecycle
import dev.edgeclip.core.TowerReport
import java.util.Locale

/** Whether this phone computes what the torch original computes, on the bundle's golden inputs. */
@Composable
fun SelfTestScreen(model: DemoViewModel) {
    val state by model.selfTest.collectAsStateWithLifecycle()
    Column(Modifier.verticalScroll(rememberScrollState()), verticalArrangement = Arrangement.spacedBy(8.dp)) {
        Button(model::runSelfTest, enabled = !state.running) { Text("Run the self-test") }
        if (state.running) Text("${state.done} of ${state.total}")
        if (state.why != null) Text(state.why.orEmpty(), color = MaterialTheme.colorScheme.error)
        for (report in state.reports) Report(report)
    }
}

@Composable
private fun Report(report: TowerReport) {
    val verdict = if (report.passed) "PASS" else "FAIL"
    val colors = MaterialTheme.colorScheme
    Text("$verdict  ${report.artifact.label}", color = if (report.passed) colors.primary else colors.error)
    val worst = report.worst?.let { String.format(Locale.ROOT, "%.6f", it) } ?: "none"
    Text("smallest cosine $worst, asked ${report.floor}; ${report.samples} samples, median ${report.medianMs.toLong()} ms")
    for (failure in report.failures) Text(failure, color = colors.error)
}
