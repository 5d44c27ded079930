package dev.edgeclip.demo

import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.padding
import androidx.compose.material3.CircularProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.NavigationBar
import androidx.compose.material3.NavigationBarItem
import androidx.compose.material3.Scaffold
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.saveable.rememberSaveable
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.unit.dp
import androidx.lifecycle.compose.collectAsStateWithLifecycle
import androidx.lifecycle.viewmodel.compose.viewModel

private enum class Screen(val title: String, val icon: String) {
    LABELS("Labels", "◉"),
    SEARCH("Search", "⌕"),
    SELF_TEST("Self-test", "✓"),
}

/** Three screens over one model, which is loaded once and outlives rotations. */
@Composable
fun DemoApp(model: DemoViewModel = viewModel()) {
    var screen by rememberSaveable { mutableStateOf(Screen.LABELS) }
    val engine by model.engine.collectAsStateWithLifecycle()
    Scaffold(
        bottomBar = {
            NavigationBar {
                for (entry in Screen.entries) {
                    NavigationBarItem(
                        selected = entry == screen,
                        onClick = { screen = entry },
                        icon = { Text(entry.icon) },
                        label = { Text(entry.title) },
                    )
                }
            }
        },
    ) { edges ->
        Column(Modifier.fillMaxSize().padding(edges).padding(horizontal = 16.dp)) {
            Text(BundleInfo.model, style = MaterialTheme.typography.titleLarge)
            Text(licenceLine(), style = MaterialTheme.typography.bodySmall)
            when (val state = engine) {
                is Engine.Loading -> CircularProgressIndicator()
                is Engine.Failed -> Text(state.why, color = MaterialTheme.colorScheme.error)
                is Engine.Ready -> when (screen) {
                    Screen.LABELS -> LabelScreen(model)
                    Screen.SEARCH -> SearchScreen(model, state.clip.readsTexts)
                    Screen.SELF_TEST -> SelfTestScreen(model)
                }
            }
        }
    }
}

private fun licenceLine(): String {
    val use = if (BundleInfo.commercialUse) "" else ", no commercial use"
    return "Weights: ${BundleInfo.licence}$use"
}
